"""A transcript as JSON in your own FastAPI application: python examples/fastapi_transcribe.py runs/base.

curl -F audio=@talk.mp3 "http://127.0.0.1:8000/transcribe?language=en"
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, UploadFile

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime import Transcriber, load


def create_app(transcriber: Transcriber) -> FastAPI:
    """Return the application; requests take turns at the model."""
    app = FastAPI()

    @app.post("/transcribe")
    def transcribe(audio: UploadFile, language: str = "auto", *, words: bool = False) -> dict[str, Any]:
        try:
            transcript = transcriber.transcribe(
                audio.file.read(), name=audio.filename, language=language, word_timestamps=words
            )
        except (InputError, SpecError) as error:
            raise HTTPException(400, str(error)) from error
        return {
            "text": transcript.text,
            "language": transcript.language,
            "segments": [
                {
                    "start": segment.start_s,
                    "end": segment.end_s,
                    "text": segment.text,
                    "words": [
                        {"start": word.start_s, "end": word.end_s, "word": word.text}
                        for word in segment.words
                    ],
                }
                for segment in transcript.segments
            ],
        }

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(load(sys.argv[1])))
