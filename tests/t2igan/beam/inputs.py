"""Small inputs of every kind that `prepare` reads, broken images among them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WORDS = ["red", "blue", "green", "round", "square", "tall", "small", "old", "new", "wet", "dry"]


def picture(seed: int) -> bytes:
    """A JPEG; every ninth is cut off."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (4, 5, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((40, 32), Image.Resampling.BILINEAR).save(out, "JPEG")
    data = out.getvalue()
    return data[: len(data) // 2] if seed % 9 == 4 else data


def captions(seed: int) -> list[str]:
    """One to three, of few words and one rare."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 4))
    return [" ".join([*random.choice(WORDS, 4), f"rare{seed % 50}"]) for _ in range(count)]


def tars(folder: Path, files: int, images: int) -> Path:
    """Some texts are in Windows-1252; the last tar is cut off."""
    folder.mkdir()
    for file in range(files):
        path = folder / f"{file:05d}.tar"
        with tarfile.open(path, "w") as archive:
            for image in range(images):
                seed = file * images + image
                texts = "\n".join(captions(seed)).encode()
                if seed % 20 == 3:
                    texts += " café".encode("cp1252")
                for suffix, data in ((".jpg", picture(seed)), (".txt", texts)):
                    member = tarfile.TarInfo(f"{image:06d}{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3 // 512 * 512 + 100])  # within a header
    return folder


def parquet(folder: Path, files: int, rows: int, split: bool) -> Path:
    """With a column `split`, or with splits in the files' names."""
    folder.mkdir()
    names = ["test", *["train"] * (files - 2), "validation"]
    for file in range(files):
        seeds = range(file * rows, (file + 1) * rows)
        table = {
            "image": [{"bytes": picture(seed), "path": f"{seed}.jpg"} for seed in seeds],
            "caption": [captions(seed) for seed in seeds],
        }
        if split:
            table["split"] = [("train", "val", "train", "test")[seed % 4] for seed in seeds]
        name = f"part-{file}" if split else f"{names[file]}-{file:05d}"
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


def images(folder: Path, number: int) -> Path:
    """A folder with captions.csv: a missing file, one in other letters, and a repeated flat one."""
    folder.mkdir()
    flat = io.BytesIO()
    Image.new("RGB", (30, 30), (200, 10, 10)).save(flat, "PNG")
    lines = ["file,caption"]
    for seed in range(number):
        name = f"{seed:04d}.jpg"
        if seed % 30 == 7:
            (folder / name).write_bytes(flat.getvalue())
        elif seed == 11:
            (folder / name.upper()).write_bytes(picture(seed))
        elif seed != 12:
            (folder / name).write_bytes(picture(seed))
        lines += [f"{name},{caption}" for caption in captions(seed)]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder
