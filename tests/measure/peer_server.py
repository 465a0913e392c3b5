"""A server of another engine, as small as people write them: one request, one call of the engine.

    python tests/measure/peer_server.py faster-whisper FOLDER --threads 2

Starlette is what FastAPI is made of. Calls run in threads: CTranslate2 has a queue of its own, and whisper.cpp takes one call at a
time, as its server does. Decoding is greedy and without another try at a higher temperature.
"""

import argparse
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.engines.registry import find_engine
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.runtime.model.compute import ComputeSpec

ONE_AT_A_TIME = frozenset({"whisper.cpp"})


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--port", type=int, default=8001)
    given = parser.parse_args()
    compute = ComputeSpec(threads=given.threads)
    spec = EngineSpec(engine=given.engine, variant="", folder=given.folder, compute=compute)
    transcribe_wave = find_engine(given.engine).open_cold(spec)
    turn = threading.Semaphore(1 if given.engine in ONE_AT_A_TIME else 40)

    def transcribe_file(content: bytes, language: str) -> str:
        wave = decode_audio(content)
        with turn:
            return transcribe_wave(wave, language)

    async def transcribe(request: Request) -> JSONResponse:
        async with request.form() as form:
            content = await form["file"].read()  # type: ignore[union-attr]  # a file, of our own client
            text = await run_in_threadpool(transcribe_file, content, str(form["language"]))
        return JSONResponse({"text": text})

    routes = [Route("/v1/audio/transcriptions", transcribe, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes), port=given.port, log_level="error")


if __name__ == "__main__":
    main()
