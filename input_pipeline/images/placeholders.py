"""The "photo no longer available" image: one small flat file under many photographs' names.

It decodes well and has nothing to do with the caption. It is known by its look (a few gray letters
on light gray, as Flickr's), and, whatever its look, by being repeated: the same bytes under several
names, and flat. A photograph that somebody posted twice is neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from input_pipeline import scratch

SMALL_FILE = 64 * 1024
# So few that they travel to every worker; a download has one or two.
_MOST_DIGESTS = 1000


def digest(data: bytes) -> bytes:
    """16 bytes that stand for a file's content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def repeated_files(
    paths: Iterable[Path], *, at_least: int = 3, max_bytes: int = SMALL_FILE
) -> frozenset[bytes]:
    """Digests of the contents that lie under several names: what `decode` takes as `placeholders`.

    One pass before decoding. It reads small files only, and counts on disk: memory does not grow
    with their number.

    Args:
      paths: image files; missing and unreadable ones are passed over, and a path that comes twice
        counts once.
      at_least: this many names make a content suspect.
      max_bytes: larger files are not read: placeholders are small.

    Raises:
      UserError: the temporary folder (`TMPDIR`) is full or cannot be written.
    """
    return repeated(small_file_digests(paths, max_bytes), at_least)


def repeated(digests: Iterable[tuple[bytes, bytes]], at_least: int = 3) -> frozenset[bytes]:
    """Returns the contents that lie under several names, see `repeated_files`."""
    return frozenset(scratch.shared(digests, at_least, _MOST_DIGESTS))


class RepeatedFiles:
    """What `repeated_files` finds, read when it is first asked for.

    `decode` asks about small flat images alone: a data set without any is not read twice.
    """

    def __init__(self, paths: Callable[[], Iterable[Path]]) -> None:
        """Reads nothing yet.

        Args:
          paths: gives the image files, see `repeated_files`.
        """
        self._paths = paths
        self._lock = threading.Lock()
        self._found: frozenset[bytes] | None = None

    def __contains__(self, digest: object) -> bool:
        """Whether files of this digest lie under several names."""
        with self._lock:
            if self._found is None:
                self._found = repeated_files(self._paths())
        return digest in self._found


def may_be_flat(picture: Image.Image) -> bool:
    """Returns whether `is_flat` is worth asking: 256 of the pixels are looked at."""
    colors = picture.resize((16, 16), Image.Resampling.NEAREST).getcolors(256)
    return colors is not None and max(colors)[0] > 100


def is_flat(pixels: np.ndarray) -> bool:
    """Returns whether one color fills more than half of the image.

    Args:
      pixels: uint8 [H, W, 3].
    """
    return _commonest_colour(_thinned(pixels))[1] > 0.5


def looks_unavailable(picture: Image.Image) -> bool:
    """Returns whether it looks like Flickr's "photo no longer available": gray letters on light
    gray.

    White grounds are not taken for it: drawings and logos have them.

    Args:
      picture: RGB.
    """
    corner = np.array(picture.getpixel((0, 0)))
    # Cheap first: photographs hardly ever get further.
    if not _is_gray(corner, 6) or not 225 <= corner.min() <= corner.max() < 252:
        return False
    pixels = _thinned(np.asarray(picture))
    ground, share = _commonest_colour(pixels)
    if share < 0.95 or (ground != corner).any():
        return False
    return bool(_is_gray(pixels, 24) and (pixels <= ground).all() and share < 1)


def _thinned(pixels: np.ndarray) -> np.ndarray:
    """Every k-th pixel of a large image: what is flat is flat there too, for a hundredth."""
    step = max(1, max(pixels.shape[:2]) // 1024)
    return pixels[::step, ::step]


def _is_gray(colors: np.ndarray, tolerance: int) -> bool:
    return bool((colors.max(axis=-1) - colors.min(axis=-1)).max() <= tolerance)


def _commonest_colour(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """int [3] color and the share of the pixels that have it."""
    packed = pixels.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, counts = np.unique(packed, return_counts=True)
    best = int(counts.argmax())
    color = int(colors[best])
    return np.array([color >> 16, color >> 8 & 255, color & 255]), counts[best] / packed.size


def small_file_digests(
    paths: Iterable[Path], max_bytes: int = SMALL_FILE
) -> Iterator[tuple[bytes, bytes]]:
    """Yields (digest of the content, digest of the path) of each file that is not too large."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            if path.is_file() and 0 < path.stat().st_size <= max_bytes:
                yield digest(path.read_bytes()), digest(str(path).encode(errors="replace"))
