"""What the API takes and gives, as OpenAPI 3.1 says it."""

from __future__ import annotations

from typing import Any

from t2igan import __version__
from t2igan.export.web_page import examples
from t2igan.sampling.run import Run

__all__ = ["document", "examples"]


def document(run: Run, most_images: int, most_letters: int) -> dict[str, Any]:
    """Returns the document of a run's server."""
    number = {"type": "number", "minimum": 0, "maximum": 10, "default": 1.0}
    asked = {
        "type": "object",
        "required": ["caption"],
        "additionalProperties": False,
        "properties": {
            "caption": {"type": "string", "maxLength": most_letters, "example": examples(run)[0]},
            "num": {"type": "integer", "minimum": 1, "maximum": most_images, "default": 1},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 0},
            "truncation": number | {"description": "scale of the noise"},
        },
    }
    image = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    given = {
        "type": "object",
        "properties": {
            "images": {"type": "array", "items": image},
            "unknown_words": {"type": "array", "items": {"type": "string"}},
        },
    }
    error = {"type": "object", "properties": {"error": {"type": "string"}}}

    def answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": text, "content": {"application/json": {"schema": schema}}}

    refusals = {
        "400": answer("the body is not a JSON object", error),
        "413": answer("the body is too large", error),
        "422": answer("a field is missing, unknown or out of its range", error),
        "429": answer("too many images are waiting", error),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "t2igan: images of a caption", "version": __version__},
        "paths": {
            "/generate": {
                "post": {
                    "summary": f"PNG images of {run.image_size}x{run.image_size} pixels",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": asked}},
                    },
                    "responses": {"200": answer("the images", given), **refusals},
                }
            },
            "/health": {
                "get": {"responses": {"200": answer("it works", {"type": "object"})}},
            },
        },
    }
