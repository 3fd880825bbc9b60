"""Every kind of image is used the right way up, and every kind of fault has its name."""

import io
import os
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from input_pipeline.errors import UserError
from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected, decode, resize

HEIGHT, WIDTH = 48, 64


def _scene() -> Image.Image:
    """Smooth, colored, and different in all four corners."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = 255 * x / WIDTH, 255 * y / HEIGHT
    return Image.fromarray(np.stack([red, green, 128 + 0 * red], axis=-1).astype(np.uint8))


SCENE = _scene()
PIXELS = np.asarray(SCENE)


def _encoded(picture, kind, **options) -> bytes:
    out = io.BytesIO()
    # Pillow leaves one format's settings on the image, for the next to stumble over.
    picture.copy().save(out, kind, **options)
    return out.getvalue()


def _close(pixels, expected, tolerance=6.0):
    assert pixels.dtype == np.uint8
    assert pixels.shape == np.shape(expected)
    assert np.abs(pixels.astype(float) - expected).mean() < tolerance


def _reason(image, **options) -> str:
    with pytest.raises(Rejected) as caught:
        decode(image, **options)
    return caught.value.reason


def _decoded_or_reason(data):
    try:
        return decode(data, max_pixels=1_000_000), None
    except Rejected as rejected:
        return None, rejected.reason


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_format_under_any_name(tmp_path, kind):
    path = tmp_path / "picture.jpg"
    path.write_bytes(_encoded(SCENE, kind))
    _close(decode(path), PIXELS)
    _close(decode(path.read_bytes()), PIXELS)


def test_gray_and_one_bit_images_are_rgb():
    gray = np.asarray(SCENE.convert("L"))
    for kind in ("JPEG", "PNG"):
        _close(decode(_encoded(SCENE.convert("L"), kind)), np.stack([gray] * 3, axis=-1), 2)
    bits = SCENE.convert("1")
    np.testing.assert_array_equal(decode(_encoded(bits, "PNG")), np.asarray(bits.convert("RGB")))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.linspace(0, 65_535, HEIGHT * WIDTH).astype(np.uint16), "PNG"),
        (np.linspace(0, 65_535, HEIGHT * WIDTH).astype(np.uint16), "TIFF"),
        (np.linspace(0, 65_535, HEIGHT * WIDTH).astype(np.int32), "TIFF"),
        (np.linspace(0, 1, HEIGHT * WIDTH).astype(np.float32), "TIFF"),
        (np.linspace(0, 255, HEIGHT * WIDTH).astype(np.float32), "TIFF"),
    ],
)
def test_deep_gray_keeps_its_range(values, kind):
    pixels = decode(_encoded(Image.fromarray(values.reshape(HEIGHT, WIDTH)), kind))
    expected = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1).repeat(3, axis=2)
    _close(pixels, expected, 1)


def test_cmyk_with_and_without_adobes_mark():
    cmyk = SCENE.convert("CMYK")
    adobe = _encoded(cmyk, "JPEG", quality=95)
    _close(decode(adobe), PIXELS)
    # Without the mark the stored numbers are ink as they are, not upside down.
    start = adobe.index(b"\xff\xee")
    length = 2 + int.from_bytes(adobe[start + 2 : start + 4], "big")
    plain = adobe[:start] + adobe[start + length :]
    _close(decode(plain), np.asarray(ImageChops.invert(cmyk).convert("RGB")))


def test_what_is_transparent_is_white():
    clear = SCENE.convert("RGBA")
    clear.putalpha(
        Image.fromarray((np.arange(WIDTH) < 8).astype(np.uint8)[None] * 255).resize(clear.size)
    )
    expected = PIXELS.copy()
    expected[:, 8:] = 255
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        np.testing.assert_array_equal(decode(_encoded(clear, kind, **options)), expected)
    assert (decode(_encoded(clear.convert("LA"), "PNG"))[:, 8:] == 255).all()
    palette = SCENE.convert("P")
    corner = palette.getpixel((WIDTH - 1, HEIGHT - 1))
    for kind in ("PNG", "GIF"):
        assert (decode(_encoded(palette, kind, transparency=corner))[-1, -1] == 255).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert (abs(decode(_encoded(half, "PNG")).astype(int) - 127) <= 1).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_right_way_up(kind, orientation):
    data = _encoded(SCENE, kind, exif=_exif(orientation))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decode(data), np.asarray(expected))


def test_broken_exif_does_not_cost_the_image():
    data = _encoded(SCENE, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    _close(decode(data), PIXELS)


def test_second_images_in_a_photograph_are_no_animation():
    for kind in ("MPO", "TIFF"):
        other = ImageOps.mirror(SCENE)
        _close(decode(_encoded(SCENE, kind, save_all=True, append_images=[other])), PIXELS)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_are_rejected(kind):
    frames = _encoded(SCENE, kind, save_all=True, append_images=[ImageOps.mirror(SCENE)])
    assert _reason(frames) == "animated"


def test_pixels_and_reasons_pass_through():
    assert decode(PIXELS) is PIXELS
    assert _reason(Rejected("bad_name")) == "bad_name"
    assert _reason(PIXELS.astype(float)) == "undecodable"
    assert _reason(PIXELS[..., 0]) == "undecodable"
    assert _reason(PIXELS, max_pixels=100) == "oversized"


def test_what_is_no_image_has_a_name(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    assert _reason(tmp_path / "no.jpg") == "missing"
    assert _reason(tmp_path / "no.jpg" / "no.jpg") == "missing"
    assert _reason(tmp_path / "nul\0.jpg") == "missing"
    assert _reason(tmp_path) == "not_a_file"
    assert _reason(tmp_path / "pipe.jpg") == "not_a_file"
    assert _reason(tmp_path / "empty.jpg") == "empty"
    for page in (b"<html><body>404", b"\xef\xbb\xbf\r\n <!DOCTYPE HTML>\n", b"<HEAD><TITLE>"):
        assert _reason(page) == "html"
    for junk in (b"not an image", b"%PDF-1.4", bytes(1000), b"\x80\x04cos\nsystem\n"):
        assert _reason(junk) == "undecodable"
    # PostScript would start a program.
    assert _reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_cut_off_files_are_truncated(kind):
    data = _encoded(SCENE, kind)
    for keep in (0.3, 0.6, 0.95):
        assert _reason(data[: int(keep * len(data))]) == "truncated"


def test_a_download_filled_up_with_zeros_is_truncated():
    data = _encoded(SCENE, "JPEG", quality=95)
    assert _reason(data[: len(data) // 2] + bytes(len(data) // 2)) == "truncated"
    _close(decode(data + bytes(100)), PIXELS)


def test_decompression_bombs_are_not_decoded(tmp_path):
    zeros = zlib.compress(bytes(12_000 * 1501))
    for side in (12_000, 60_000):
        header = side.to_bytes(4, "big") * 2 + b"\x01\x00\0\0\0"
        chunks = [(b"IHDR", header), (b"IDAT", zeros), (b"IEND", b"")]
        bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
            len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
            for name, body in chunks
        )
        assert len(bomb) < 100_000
        assert _reason(bomb) == "oversized"
    assert _reason(_encoded(SCENE, "PNG"), max_pixels=HEIGHT * WIDTH - 1) == "oversized"
    (tmp_path / "large.jpg").write_bytes(_encoded(SCENE, "PNG"))
    assert _reason(tmp_path / "large.jpg", max_bytes=50) == "oversized"


def test_warnings_stay_inside_and_come_back_in_threads():
    noisy = _encoded(SCENE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        assert all(picture.shape == PIXELS.shape for picture in pool.map(decode, [noisy] * 64))
        assert warnings.filters == inside
    assert not caught
    assert warnings.filters == before


def test_drafts_are_nearly_the_whole():
    large = SCENE.resize((1024, 768), Image.Resampling.BICUBIC)
    data = _encoded(large, "JPEG", quality=90)
    draft = decode(data, draft_size=64)
    assert draft.shape == (192, 256, 3)
    _close(resize(draft, 64), resize(decode(data), 64).astype(float), 1)


def test_resize_squashes_or_crops_the_middle():
    stripes = np.zeros((60, 100, 3), np.uint8)
    stripes[:, 20:80] = 255
    squashed, cropped = resize(stripes, 20), resize(stripes, 20, "center_crop")
    assert squashed.shape == cropped.shape == (20, 20, 3)
    assert (squashed[:, [0, -1]] == 0).all()
    assert (cropped == 255).all()
    with pytest.raises(UserError, match="--resize=stretch"):
        resize(stripes, 20, "stretch")


def test_resize_is_antialiased():
    """A checkerboard finer than the result is its mean, not one of its colors."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    small = resize(np.stack([board] * 3, axis=-1).astype(np.uint8), 32)
    assert abs(small.astype(float) - 127.5).max() < 4


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
def test_resize_takes_any_shape(height, width, size):
    flat = np.full((height, width, 3), 77, np.uint8)
    for how in ("squash", "center_crop"):
        assert (resize(flat, size, how) == 77).all()
        assert resize(flat, size, how).shape == (size, size, 3)


SAMPLES = [
    _encoded(picture, kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
    for picture in (SCENE, SCENE.convert("P") if kind in ("PNG", "GIF", "BMP") else SCENE)
]


@settings(max_examples=400)
@given(
    data=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=3)), max_size=8),
    length=st.integers(0, 20_000),
)
def test_whatever_the_bytes_an_image_or_a_reason(data, edits, length):
    changed = bytearray(data)
    for place, change in edits:
        changed[place : place + len(change)] = change
    pixels, reason = _decoded_or_reason(bytes(changed[:length]))
    assert reason in image_files.REASONS or (pixels.dtype == np.uint8 and pixels.shape[2] == 3)


def test_real_photographs(flickr8k):
    """Each fault of the real folder is found, and nothing else."""
    counts: dict[str, int] = {}
    for path in sorted((flickr8k / "images").iterdir()):
        try:
            kind = "used" if decode(path).shape[2] == 3 else "wrong"
        except Rejected as rejected:
            kind = rejected.reason
        counts[kind] = counts.get(kind, 0) + 1
    assert counts == {"used": 6943, "truncated": 15, "empty": 10, "html": 10, "placeholder": 9}


def test_the_filter_is_pillows():
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    square = Image.fromarray(noise[5:35])
    for name, of_pillow in (("bicubic", Image.BICUBIC), ("lanczos", Image.LANCZOS)):
        expected = np.asarray(square.resize((16, 16), of_pillow))
        found = image_files.decode_to(noise, 16, "center_crop", resampling=name)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match="bicubic and lanczos are allowed"):
        image_files.resize(noise, 16, resampling="box")


@pytest.mark.parametrize("how", ["squash", "center_crop"])
@pytest.mark.parametrize("size", [(40, 30), (31, 47), (16, 16)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_decoding_to_a_size_is_decoding_and_resizing(mode, size, how):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, "PNG")
    expected = image_files.decode(out.getvalue())
    if size != (16, 16):
        expected = image_files.resize(expected, 16, how)
    found = image_files.decode_to(out.getvalue(), 16, how)
    np.testing.assert_array_equal(found, expected)
    whole = image_files.decode(out.getvalue())
    np.testing.assert_array_equal(image_files.decode_to(whole, 16, how), expected)
