"""Recordings as documents for a search index, the way LangChain's loaders give them, over OpenAI's transcription API.

sottovoce serve runs/base
python examples/recording_loader.py talk.mp3 interview.wav
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

TIMEOUT_S = 3600


@dataclass(frozen=True)
class Document:
    """A passage of a recording, with the fields of LangChain's `Document`."""

    page_content: str
    metadata: dict[str, Any]


class RecordingLoader:
    """Loads recordings through a server that has OpenAI's API."""

    def __init__(
        self,
        paths: Sequence[Path],
        url: str = "http://127.0.0.1:8000/v1",
        model: str = "whisper-1",
        key: str = "",
    ) -> None:
        self.paths, self.url, self.model = paths, url, model
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def lazy_load(self) -> Iterator[Document]:
        """Yield a document for each segment of each recording."""
        for path in self.paths:
            with path.open("rb") as audio:
                answer = requests.post(
                    f"{self.url}/audio/transcriptions",
                    files={"file": (path.name, audio)},
                    data={"model": self.model, "response_format": "verbose_json"},
                    headers=self.headers,
                    timeout=TIMEOUT_S,
                )
            answer.raise_for_status()
            for segment in answer.json()["segments"]:
                metadata = {"source": str(path), "start": segment["start"], "end": segment["end"]}
                yield Document(segment["text"].strip(), metadata)


if __name__ == "__main__":
    for document in RecordingLoader([Path(name) for name in sys.argv[1:]]).lazy_load():
        print(f"{document.metadata['source']} {document.metadata['start']:8.1f} s  {document.page_content}")
