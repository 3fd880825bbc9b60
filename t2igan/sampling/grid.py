"""Captioned grids of images."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from t2igan.images import grid

_INK = (32, 32, 32)
_MARGIN = 8
TEXT_WIDTH = 200
_GAP = 4
_CUT = " ..."
_MOST_ACROSS = 8
_EASY_TO_SEE = 128  # pixels that small images are enlarged to, at least half of them


def grid_shape(rows: int, columns: int, image_size: int) -> tuple[int, int]:
    """Returns width and height in pixels of the sheet that `captioned_grid` makes."""
    cell = image_size * _scale(image_size) + _GAP
    across, down = _wrapped(columns)
    return TEXT_WIDTH + across * cell + _GAP, rows * down * cell + _GAP


def _scale(image_size: int) -> int:
    return max(1, _EASY_TO_SEE // image_size)


def _wrapped(columns: int) -> tuple[int, int]:
    """Images across and lines down of a caption with so many images."""
    across = min(columns, _MOST_ACROSS)
    return across, -(-columns // across)


def captioned_grid(images: np.ndarray, captions: Sequence[str]) -> Image.Image:
    """Returns a sheet: a row a caption, the caption on the left, its images on the right.

    Small images are enlarged by a whole number; more than eight of a caption go on below.

    Args:
      images: uint8 [N, C, S, S, 3].
      captions: N texts.
    """
    rows, columns, size = images.shape[:3]
    scale, (across, down) = _scale(size), _wrapped(columns)
    full = np.full((rows, across * down, size, size, 3), 255, np.uint8)
    full[:, :columns] = images
    lines = full.reshape(rows * down, across, size, size, 3)
    large = lines.repeat(scale, axis=2).repeat(scale, axis=3)
    sheet = Image.new("RGB", grid_shape(rows, columns, size), "white")
    sheet.paste(Image.fromarray(grid(large, gap=_GAP)), (TEXT_WIDTH, 0))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    height = down * (size * scale + _GAP) - _GAP
    for row, caption in enumerate(captions):
        text = _fitted(caption, font, TEXT_WIDTH - 2 * _MARGIN, height)
        middle = (_MARGIN, _GAP + row * (height + _GAP) + height // 2)
        draw.multiline_text(middle, text, fill=_INK, font=font, anchor="lm", spacing=3)
    return sheet


def _fitted(caption: str, font: ImageFont.FreeTypeFont, width: int, height: int) -> str:
    """Returns the caption in lines that fit a width and a height, cut where they end."""
    most = max(1, height // 18)
    for letters in range(int(width / font.getlength("i")), 0, -1):
        lines = textwrap.wrap(caption, letters, max_lines=most, placeholder=_CUT[:letters])
        if all(font.getlength(line) <= width for line in lines):
            break
    return "\n".join(lines) or " "
