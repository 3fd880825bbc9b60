"""The ASGI application: the page, /generate, /health and /openapi.json, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
from collections.abc import AsyncIterator
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from input_pipeline.text.vocabulary import tokenize
from t2igan.export.web_page import SOURCE
from t2igan.sampling.run import Run
from t2igan.serving import openapi
from t2igan.serving.batching import Batcher, Full

MOST_IMAGES = 16
MOST_LETTERS = 1000
_MOST_BYTES = 64 << 10
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
# The page of `t2igan export --format=web`, its generator exchanged for one that asks this server.
_PAGES = {
    "/": "index.html",
    "/style.css": "style.css",
    "/app.js": "app.js",
    "/text.js": "text.js",
    "/generate.js": "generate_remote.js",
}


class Refused(Exception):
    """A request that cannot be answered: a status and one line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


def make_app(run: Run, most_waiting: int = 256) -> Starlette:
    """Returns the application of a run.

    Args:
      run: trained.
      most_waiting: images that may wait; beyond, requests get 429.
    """
    batcher = Batcher(run, _png, most_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await batcher.start()
        yield
        await batcher.stop()

    async def generate(request: Request) -> Response:
        asked = _asked(await _body(request), run)
        try:
            images = await batcher.generate(**asked)
        except Full:
            raise Refused(429, f"{batcher.waiting} images are waiting: try again later") from None
        words = dict.fromkeys(tokenize(asked["caption"]))
        unknown = [word for word in words if word not in run.vocabulary.codes]
        return JSONResponse({"images": images, "unknown_words": unknown, **asked})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": batcher.waiting, "step": run.step})

    async def about(request: Request) -> Response:
        return JSONResponse(_about(run))

    async def api(request: Request) -> Response:
        return JSONResponse(openapi.document(run, MOST_IMAGES, MOST_LETTERS))

    routes = [Route(path, _page(name)) for path, name in _PAGES.items()]
    routes += [
        Route("/generate", generate, methods=["POST"]),
        Route("/health", health),
        Route("/about.json", about),
        Route("/openapi.json", api),
    ]
    handlers: Any = {Refused: _refusal, 404: _missing, 405: _missing, 500: _failed}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def _page(name: str) -> Any:
    data = (SOURCE / name).read_bytes()
    kind = _TYPES[name.rpartition(".")[2]]

    async def page(request: Request) -> Response:
        return Response(data, media_type=f"{kind}; charset=utf-8")

    return page


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _MOST_BYTES:
            raise Refused(413, f"a request has at most {_MOST_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, 'the body is no object like {"caption": "a red star"}')
    return value


def _asked(value: dict[str, Any], run: Run) -> dict[str, Any]:
    """The request's fields, checked.

    Raises:
      Refused: one is missing, unknown, or out of its range.
    """
    known = {"caption", "num", "seed", "truncation"}
    for name in value:
        if name not in known:
            raise Refused(
                422, f"no field {str(name)[:100]!r}; there are {', '.join(sorted(known))}"
            )
    caption = value.get("caption")
    if not isinstance(caption, str) or not any(letter.isalnum() for letter in caption):
        raise Refused(422, '"caption" must be a text with words in it')
    if len(caption) > MOST_LETTERS:
        raise Refused(422, f'"caption" has at most {MOST_LETTERS} letters')
    try:
        caption.encode()
    except UnicodeEncodeError:
        raise Refused(422, '"caption" is not UTF-8 text') from None
    num, seed = value.get("num", 1), value.get("seed", 0)
    for name, number, low, high in (("num", num, 1, MOST_IMAGES), ("seed", seed, 0, 2**32 - 1)):
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not low <= number <= high:
            raise Refused(422, f'"{name}" must be a whole number from {low} to {high}')
    truncation = value.get("truncation", 1.0)
    is_number = isinstance(truncation, int | float) and not isinstance(truncation, bool)
    if not is_number or not math.isfinite(truncation) or not 0 <= truncation <= 10:
        raise Refused(422, '"truncation" must be a number from 0 to 10')
    return {"caption": caption, "num": num, "seed": seed, "truncation": float(truncation)}


def _about(run: Run) -> dict[str, Any]:
    return {
        "words": run.vocabulary.words,
        "caption_length": run.caption_length,
        "image_size": run.image_size,
        "examples": openapi.examples(run),
        "name": run.config.recipe,
    }


def _png(image: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.line}, error.status)


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    line = "there is no such page" if status == 404 else f"{request.method} is not answered here"
    return JSONResponse({"error": line}, status)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the images could not be generated"}, 500)
