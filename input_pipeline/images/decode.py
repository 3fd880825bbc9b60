"""Files to RGB images, or a named reason why not."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import threading
from collections.abc import Container, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from input_pipeline.errors import UserError
from input_pipeline.images.placeholders import (
    SMALL_FILE,
    digest,
    is_flat,
    looks_unavailable,
    may_be_flat,
)
from input_pipeline.images.quiet_warnings import quiet_warnings

MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 1024 * 1024

# No other reader of Pillow's is ever started: some of them run programs or have no size limit.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
# Formats whose second frame means movement; in TIFF and MPO it is a page or a thumbnail.
_MOVING = ("GIF", "PNG", "WEBP", "AVIF")
# A progressive JPEG of a few kilobytes can ask for thousands of passes over all of its pixels.
MAX_SCANS = 100
# Starts of files that some build of Pillow, or a package, could read, and this one cannot.
_OTHER_FORMATS = (b"8BPS", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"<svg", b"\0\0\0\x0cjP  ")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


REASONS = (
    "missing",
    "not_a_file",
    "unreadable",
    "empty",
    "html",
    "truncated",
    "undecodable",
    "oversized",
    "too_many_scans",
    "unsupported_format",
    "animated",
    "placeholder",
)


RESAMPLINGS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


class Rejected(Exception):
    """An image that cannot be used.

    Attributes:
      reason: one word for the counts: one of `REASONS`, or a source's own (bad_name,
        ambiguous_name, ...).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(
    image: Path | bytes | np.ndarray | Rejected,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    placeholders: Container[bytes] = frozenset(),
    draft_size: int | None = None,
) -> np.ndarray:
    """Returns uint8 [H, W, 3] RGB image, the right way up.

    Transparent parts are shown on white, as a web page would. 16-bit gray keeps its upper 8 bits.
    CMYK is converted without its color profile.

    Args:
      image: a file, a file's bytes, or pixels (uint8 [H, W, 3], returned as they are). A
        `Rejected` is raised: so a source says what it knows beforehand.
      max_pixels: more are refused before they are decoded.
      max_bytes: larger files are refused before they are read.
      placeholders: digests of `placeholders.repeated_files`, or a `placeholders.RepeatedFiles`.
      draft_size: let the JPEG decoder shrink by 2, 4 or 8 while both sides stay at least twice
        this many pixels. Four times faster for large photographs; after `resize` a pixel differs
        by 0.2 to 1.2 of 255 on average. None decodes in full.

    Raises:
      Rejected: it cannot be used.
    """
    if isinstance(image, np.ndarray):
        return _checked_pixels(image, max_pixels)
    picture = _decoded(image, max_pixels, max_bytes, placeholders, draft_size)
    return np.asarray(picture)


def decode_to(
    image: Path | bytes | np.ndarray | Rejected,
    size: int,
    how: str = "squash",
    *,
    placeholders: Container[bytes] = frozenset(),
    resampling: str = "bicubic",
) -> np.ndarray:
    """Returns uint8 [size, size, 3]: `resize(decode(image), size, how, resampling)`, in less time.

    An image that has the size already stays as it is.

    Args:
      image: see `decode`.
      size: pixels a side, >= 1.
      how: see `resize`.
      placeholders: see `decode`.
      resampling: see `resize`.

    Raises:
      Rejected: it cannot be used.
    """
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(_checked_pixels(image, MAX_PIXELS))
    else:
        picture = _decoded(image, MAX_PIXELS, MAX_BYTES, placeholders)
    if picture.size != (size, size):
        picture = _resized(picture, size, how, resampling)
    return np.asarray(picture)


def _decoded(
    image: Path | bytes | Rejected,
    max_pixels: int,
    max_bytes: int,
    placeholders: Container[bytes],
    draft_size: int | None = None,
) -> Image.Image:
    if isinstance(image, Rejected):
        raise image
    data = image if isinstance(image, bytes) else _read(image, max_bytes)
    _check_bytes(data, max_bytes)
    with quiet_warnings():
        picture = _open(data, max_pixels)
        if draft_size is not None:
            picture.draft(None, (2 * draft_size, 2 * draft_size))
        with _IN_FLIGHT.taken(picture.width * picture.height):
            picture = _load(picture, data)
    is_repeated = (
        bool(placeholders)
        and len(data) <= SMALL_FILE
        and may_be_flat(picture)
        and digest(data) in placeholders
        and is_flat(np.asarray(picture))
    )
    if is_repeated or looks_unavailable(picture):
        raise Rejected("placeholder")
    return picture


def resize(
    pixels: np.ndarray, size: int, how: str = "squash", resampling: str = "bicubic"
) -> np.ndarray:
    """Returns uint8 [size, size, 3] image, antialiased in both directions.

    Args:
      pixels: uint8 [H, W, 3].
      size: pixels a side, >= 1.
      how: squash takes the whole image, whatever its shape, as the report did; center_crop the
        largest square in its middle.
      resampling: bicubic, as the usual Frechet distance protocol resizes: images that are compared
        have then gone through one filter; or lanczos, which overshoots more at edges, as the data
        sets of StyleGAN's family are made.

    Reference: Parmar et al., On Aliased Resizing, arXiv:2104.11222.
    """
    return np.asarray(_resized(Image.fromarray(pixels), size, how, resampling))


def _resized(picture: Image.Image, size: int, how: str, resampling: str) -> Image.Image:
    if how == "center_crop":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    elif how != "squash":
        raise UserError(f"--resize={how}: squash and center_crop are allowed")
    if resampling not in RESAMPLINGS:
        raise UserError(f"--resampling={resampling}: {' and '.join(RESAMPLINGS)} are allowed")
    return picture.resize((size, size), RESAMPLINGS[resampling])


def _checked_pixels(pixels: np.ndarray, max_pixels: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise Rejected("undecodable")
    if pixels.shape[0] * pixels.shape[1] > max_pixels:
        raise Rejected("oversized")
    return pixels


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        # A named pipe under an image's name would otherwise wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        raise Rejected("missing") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Rejected("not_a_file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    except OSError:
        raise Rejected("unreadable") from None
    finally:
        os.close(descriptor)


def _check_bytes(data: bytes, max_bytes: int) -> None:
    if not data:
        raise Rejected("empty")
    if len(data) > max_bytes:
        raise Rejected("oversized")
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<") and any(
        tag in head for tag in (b"<html", b"<!doctype html", b"<head")
    ):
        raise Rejected("html")


class _Budget:
    """Pixels that all threads together may be decoding; one image alone may be larger."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._most)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_IN_FLIGHT = _Budget(2 * MAX_PIXELS)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that can be read here: HEIF needs the package pillow-heif."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _is_unsupported(data: bytes) -> bool:
    """Whether it is an image of a format that cannot be read here."""
    if data[4:8] == b"ftyp":  # a film has such a box too, of other brands
        brands = data[8:64]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF" not in _formats()
        return any(brand in brands for brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc")) and (
            "HEIF" not in _formats()
        )
    return data.lstrip().startswith(_OTHER_FORMATS)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise Rejected("too_many_scans")
    if _is_unsupported(data):
        raise Rejected("unsupported_format")
    try:
        picture = Image.open(BytesIO(data), formats=_formats())
        moving = picture.format in _MOVING and getattr(picture, "is_animated", False)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Rejected("oversized") from None
    except Exception:
        # Damaged headers raise nearly every kind of error in Pillow's readers.
        raise Rejected("truncated" if _is_cut_off(data) else "undecodable") from None
    if picture.width * picture.height > max_pixels:
        raise Rejected("oversized")
    if moving:
        raise Rejected("animated")
    return picture


def _load(picture: Image.Image, data: bytes) -> Image.Image:
    try:
        picture.load()
        # A hole of zeros at a JPEG's end decodes, as gray; a PNG may lack no more than its end.
        suspect = picture.format == "PNG" or data.endswith(bytes(16))
        if suspect and picture.format in ("JPEG", "PNG") and _is_cut_off(data):
            raise Rejected("truncated")
        return _upright(_to_rgb(picture), _orientation(picture))
    except Rejected:
        raise
    except Exception:
        raise Rejected("truncated" if _is_cut_off(data) else "undecodable") from None


def _is_cut_off(data: bytes) -> bool:
    """Whether the file's own end is not there."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"GIF8"):
        return not data.endswith(b";")
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)
    # TIFF has no end: its parts lie anywhere.
    return data.startswith((b"II*\0", b"MM\0*"))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(picture))).convert("RGB")
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        # Pillow takes every CMYK JPEG for Adobe's, which store ink upside down.
        picture = ImageChops.invert(picture)
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def _to_8_bits(gray: np.ndarray) -> np.ndarray:
    if gray.dtype.kind == "f":
        gray = np.nan_to_num(gray, nan=0, posinf=255, neginf=0)
        return np.clip(gray * 255 if gray.max() <= 1 else gray, 0, 255).astype(np.uint8)
    if gray.dtype.itemsize == 2:
        return (gray >> 8).astype(np.uint8)
    return np.clip(gray >> 8 if gray.max() > 255 else gray, 0, 255).astype(np.uint8)


def _orientation(picture: Image.Image) -> int:
    with contextlib.suppress(Exception):  # Broken EXIF says nothing about the image.
        return int(picture.getexif().get(_ORIENTATION, 1))
    return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)
