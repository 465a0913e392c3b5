"""The files of the page."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; img-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""What the page may load: its own files, and the audio that the user gives."""

MEDIA_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
"""Those that the tables of some systems do not have."""


def page_routes() -> list[Route]:
    """Return the routes of the page."""
    return [Route("/", _index), Route("/page/{file:path}", _file)]


async def _index(_: Request) -> FileResponse:
    return _response("index.html")


async def _file(request: Request) -> FileResponse:
    return _response(request.path_params["file"])


def _response(name: str) -> FileResponse:
    """Return a file of the page; only those exist that are listed in its folder."""
    path = next((each for each in STATIC.rglob("*") if each.relative_to(STATIC).as_posix() == name), None)
    if path is None or not path.is_file():
        raise HTTPException(404)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix), headers=headers)
