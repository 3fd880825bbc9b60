"""Images of the report page: generated beside real ones, and sample grids over time."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.errors import UserError
from input_pipeline.stream.train import drawn_text
from t2igan.runtime import paths
from t2igan.sampling.captions import first_captions
from t2igan.sampling.grid import TEXT_WIDTH

if TYPE_CHECKING:
    from t2igan.sampling.run import Run

GENERATED = 4  # images a caption
MOST_SHEETS = 16
_GRAY = 128  # readable on white and on black
_WIDEST_SHEET = 900  # pixels; larger ones are downsampled
_SHEET = re.compile(r"step_(\d{1,12})\.png")


@dataclasses.dataclass(frozen=True)
class Pair:
    """One caption with its images.

    Attributes:
      caption: in words.
      generated: PNGs of GENERATED noises.
      actual: PNG of the photograph.
    """

    caption: str
    generated: list[bytes]
    actual: bytes


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The report's figures.

    Attributes:
      split: where captions and actual images are from.
      pairs: evenly chosen over the split.
    """

    split: str
    pairs: list[Pair]


def open_data(folder: str, run: Run) -> Dataset:
    """Returns the data set that a run was trained on.

    Args:
      folder: where it should lie.
      run: knows its words.

    Raises:
      UserError: it is not there, or is another one.
    """
    if not folder:
        raise UserError("the run's config names no data set")
    dataset = open_dataset(paths.local(folder))
    known = (run.vocabulary.words, run.caption_length)
    if (dataset.vocabulary.words, dataset.caption_length) != known:
        raise UserError(f"the data set at {folder} has other words than the run was trained with")
    run.meta.check_sentences("the run", dataset)
    return dataset


def held_out_split(dataset: Dataset, data: Any) -> str:
    """Returns the test split of a config's `data`, or where it is missing the validation split.

    Raises:
      UserError: there is neither.
    """
    for split in (data.get("test_split"), data.get("validation_split")):
        if split and split.partition("[")[0] in dataset.splits:
            return split
    raise UserError(f"{dataset.path} has no test and no validation split")


def make_pairs(run: Run, dataset: Dataset, split: str, num: int, seed: int = 0) -> Pairs:
    """Returns `num` captions of a split, or all it has, with generated and actual images."""
    source = dataset.source(split, run.recipe.reads_sentences)
    chosen = np.unique(np.linspace(0, len(source) - 1, num).round().astype(int))
    records = source.__getitems__(chosen)
    text = drawn_text(records, np.zeros(len(chosen), int))
    codes = text["codes"]
    generated = run.generate(
        {name: np.repeat(rows, GENERATED, axis=0) for name, rows in text.items()},
        np.tile(np.arange(GENERATED), len(codes)),
        seed,
    ).reshape(len(codes), GENERATED, run.image_size, run.image_size, 3)
    pairs = [
        Pair(caption, list(map(to_png, drawn)), to_png(actual))
        for caption, drawn, actual in zip(
            first_captions(dataset, split, chosen), generated, records["image"], strict=True
        )
    ]
    return Pairs(split, pairs)


def sheet_captions(dataset: Dataset, config: Any) -> list[str]:
    """Returns the captions of the rows of a run's sample sheets, top to bottom."""
    source = dataset.source(config.data.validation_split or config.data.train_split)
    rows = np.arange(min(len(source), config.sample.num_captions))
    return first_captions(dataset, config.data.validation_split or config.data.train_split, rows)


def sheets(workdir: Path, *, with_captions: bool = True) -> tuple[list[tuple[int, bytes]], int]:
    """Returns (step, PNG) of evenly chosen sample sheets, first and last with them.

    Args:
      workdir: of the run; files that are no images are passed over.
      with_captions: whether captions that are drawn in them stay.

    Returns:
      The sheets, and how many there are in all.
    """
    names = ((_SHEET.fullmatch(path.name), path) for path in (workdir / "samples").glob("*.png"))
    found = sorted((int(match[1]), path) for match, path in names if match)
    places = np.linspace(0, len(found) - 1, min(len(found), MOST_SHEETS)).round().astype(int)
    read = (
        (step, _read_sheet(path, with_captions))
        for step, path in (found[place] for place in places)
    )
    return [(step, data) for step, data in read if data], len(found)


def _read_sheet(path: Path, with_captions: bool) -> bytes | None:
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            image = without_gutters(image.convert("RGB"), with_captions=with_captions)
            if image.width > _WIDEST_SHEET:
                image.thumbnail((_WIDEST_SHEET, 1 << 20))
            return _encoded(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def without_gutters(sheet: Image.Image, *, with_captions: bool = True) -> Image.Image:
    """Returns a sheet whose white gaps are transparent and whose captions are gray.

    So it looks right on a page of any color.

    Args:
      sheet: RGB, as `sampling.grid.captioned_grid` or an earlier version made it.
      with_captions: whether captions in it stay.
    """
    pixels = np.asarray(sheet)
    white = (pixels == 255).all(axis=-1)
    has_captions = sheet.width > TEXT_WIDTH and white[:, :4].all()
    first = TEXT_WIDTH if has_captions else 0
    alpha = np.full(white.shape, 255, np.uint8)
    alpha[white[:, first:].all(axis=1)] = 0
    alpha[:, white.all(axis=0)] = 0
    rgba = np.dstack([pixels, alpha])
    if has_captions:  # dark letters on white: as dark as they are, so opaque is a gray
        rgba[:, :first, 3] = 255 - pixels[:, :first].min(axis=-1)
        rgba[:, :first, :3] = _GRAY
    return Image.fromarray(rgba if with_captions else rgba[:, first:])


def to_png(image: np.ndarray) -> bytes:
    """Returns the PNG file of uint8 [H, W, 3]."""
    return _encoded(Image.fromarray(image))


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
