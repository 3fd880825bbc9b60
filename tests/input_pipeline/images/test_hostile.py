"""Images that cost more than they should, and formats of other programs."""

import concurrent.futures
import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image, features

from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected, decode
from input_pipeline.images.placeholders import looks_unavailable


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def progressive(size, scans):
    """A gray JPEG of size x size whose scans are all alike: one bit a block."""
    blocks = ((size + 7) // 8) ** 2
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    head += segment(0xC2, struct.pack(">BHHB", 8, size, size, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    scan = segment(0xDA, b"\1\1\0\0\0\0") + bytes((blocks + 7) // 8)
    return head + scan * scans + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded():
    start = time.monotonic()
    with pytest.raises(Rejected, match="too_many_scans"):
        decode(progressive(4000, image_files.MAX_SCANS + 1))
    assert time.monotonic() - start < 1
    usual = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG", progressive=True)
    assert decode(usual).shape == (64, 64, 3)


def test_a_large_flat_image_is_judged_in_little_memory():
    data = encoded(Image.new("L", (5000, 5000), 200), "PNG")
    assert len(data) < 200_000
    tracemalloc.start()
    decode(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * 5000 * 5000 * 3  # the pixels, and what turns them into an array


def test_the_placeholder_is_known_at_any_size():
    small = np.full((120, 160, 3), 238, np.uint8)
    small[50:60, 40:120] = 150
    large = np.kron(small, np.ones((20, 20, 1), np.uint8))
    white = np.full((4000, 4000, 3), 255, np.uint8)
    looks = [looks_unavailable(Image.fromarray(pixels)) for pixels in (small, large, white)]
    assert looks == [True, True, False]


def test_threads_together_decode_a_bounded_number_of_pixels(monkeypatch):
    budget = image_files._Budget(1000)
    monkeypatch.setattr(image_files, "_IN_FLIGHT", budget)
    most = []

    def take(pixels):
        with budget.taken(pixels):
            most.append(budget._taken)
            time.sleep(0.002)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [400] * 20 + [5000] + [400] * 20))
    assert len(most) == 41
    assert all(taken <= 1000 or taken == 5000 for taken in most)
    assert budget._taken == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        b"8BPS\0\1" + bytes(99),
        b"\xff\x0a" + bytes(99),
        b"\n <svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_a_format_that_cannot_be_read_here_has_its_own_reason(data, monkeypatch):
    formats = tuple(name for name in image_files._formats() if name != "HEIF")
    monkeypatch.setattr(image_files, "_formats", lambda: formats)
    with pytest.raises(Rejected, match="unsupported_format"):
        decode(data)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read():
    data = encoded(Image.new("RGB", (40, 30), (200, 30, 30)), "AVIF")
    assert np.abs(decode(data).astype(int) - (200, 30, 30)).max() < 12


def test_a_jpeg_may_be_called_jfif(tmp_path):
    (tmp_path / "a.jfif").write_bytes(encoded(Image.new("RGB", (8, 8), "red"), "JPEG"))
    assert decode(tmp_path / "a.jfif").shape == (8, 8, 3)
