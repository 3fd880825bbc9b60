"""The "photo no longer available" image is found by look and repetition; photographs are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from input_pipeline.images import placeholders
from input_pipeline.images.decode import Rejected, decode


def _sign(ground, ink, size=(240, 180), text="photo no longer available") -> Image.Image:
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).text((40, 80), text, fill=ink)
    return picture


def _encoded(picture, kind="PNG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def _used(data: bytes, known: frozenset[bytes] = frozenset()) -> bool:
    try:
        decode(data, placeholders=known)
    except Rejected as rejected:
        if rejected.reason != "placeholder":
            raise
        return False
    return True


FLICKR = _encoded(_sign((242, 243, 245), (99, 99, 101)))
OTHER = _encoded(_sign("navy", "yellow", text="IMAGE REMOVED"), "JPEG")
DRAWING = _encoded(_sign("white", "black"))
PHOTOGRAPH = _encoded(Image.effect_noise((64, 64), 50).convert("RGB"))


def test_known_by_its_look():
    assert not _used(FLICKR)
    assert not _used(_encoded(_sign((238, 238, 238), (90, 90, 90), (500, 374))))


@pytest.mark.parametrize(
    "picture",
    [
        _sign("white", "black"),
        _sign((242, 243, 245), "red"),
        _sign("navy", "yellow"),
        Image.new("RGB", (64, 64), (242, 243, 245)),
        Image.effect_noise((64, 64), 50).convert("RGB"),
    ],
)
def test_drawings_and_photographs_are_used(picture):
    assert _used(_encoded(picture))


def test_known_by_being_repeated(tmp_path):
    for name, data, count in (("a", OTHER, 3), ("b", PHOTOGRAPH, 3), ("c", DRAWING, 2)):
        for number in range(count):
            (tmp_path / f"{name}{number}.jpg").write_bytes(data)
    (tmp_path / "empty.jpg").touch()
    paths = [*tmp_path.iterdir(), tmp_path / "missing.jpg", tmp_path / "nul\0.jpg", tmp_path]
    known = placeholders.repeated_files(paths * 2)
    assert known == {placeholders.digest(OTHER), placeholders.digest(PHOTOGRAPH)}
    # A photograph that somebody copied is one still: it is not flat.
    assert [_used(data, known) for data in (OTHER, PHOTOGRAPH, DRAWING)] == [False, True, True]
    assert placeholders.repeated_files(paths, max_bytes=100) == frozenset()
    assert placeholders.digest(DRAWING) in placeholders.repeated_files(paths, at_least=2)


def test_files_are_looked_through_once_a_small_flat_image_asks(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(OTHER)
    asked = []

    def paths():
        asked.append(True)
        return tmp_path.iterdir()

    known = placeholders.RepeatedFiles(paths)
    assert _used(PHOTOGRAPH, known)
    assert not asked
    assert [_used(data, known) for data in (OTHER, DRAWING, OTHER)] == [False, True, False]
    assert asked == [True]


def test_flatness_is_the_share_of_one_color():
    pixels = np.zeros((10, 10, 3), np.uint8)
    assert placeholders.is_flat(pixels)
    pixels[:5] = np.arange(50).reshape(5, 10, 1)
    assert placeholders.is_flat(pixels)
    pixels[5, 0] = 200
    pixels[0, 0] = 201
    assert not placeholders.is_flat(pixels)
