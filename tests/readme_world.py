"""What the README's commands expect to find: images, captions, vectors, a server, small sizes."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from input_pipeline.text.vocabulary import SPECIAL_WORDS
from t2igan.cli import main as cli

WORDS = ("a", "red", "dog", "on", "grass")
COUNT = 40  # images: enough for a batch of train and one of validation
# After the README's own flags, of which the last holds.
SMALL = {
    "train": [
        "--config.train.steps=2",
        "--config.train.batch_size=4",
        "--config.train.validation_batches=1",
        *(f"--config.model.{width}=2" for width in ("gf_dim", "df_dim", "cond_dim", "z_dim")),
        "--config.model.text_compressor_dim=2",
        "--config.sample.num_captions=2",
        "--config.use_compilation_cache=false",
    ],
    "download": ["--allow_private_hosts"],
    "evaluate": ["--num=8", "--resamples=2"],
}
SMALL["sweep"] = SMALL["train"]
SMALL["train"] = [*SMALL["train"], "--devices=1"]
BEAM_PYTHON = Path(__file__).resolve().parents[1] / ".venv-beam/bin/python"
_SHRUNK = {"image_size": lambda size: str(int(size) // 4), "num_examples": lambda count: str(COUNT)}


def jpeg(index: int) -> bytes:
    """An image like no other: one file repeated would be taken for "no longer available"."""
    pixels = np.random.default_rng(index).integers(0, 256, (20, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = jpeg(int(Path(self.path).stem))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a server that has an image at /NUMBER.jpg."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()


def run(words: list[str], address: str) -> None:
    """Runs `t2igan WORDS` on little data, which is made where it is missing.

    Raises:
      AssertionError: it does not exit with 0.
    """
    words = [_shrunk(word) for word in words]
    _provide(words, address)
    words += SMALL.get(words[0], [])
    if any("--beam_options" in word for word in words):  # Beam's pins are their own
        command = [BEAM_PYTHON, "-P", "-m", "t2igan", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    assert cli.main(words) == 0, words
    if words[0] == "download":
        images = next(word for word in words if word.startswith("--images="))
        assert len(list(Path(images.partition("=")[2]).glob("*.jpg"))) == COUNT


def _shrunk(word: str) -> str:
    name, _, value = word.partition("=")
    shrink = _SHRUNK.get(name.lstrip("-"))
    return f"{name}={shrink(value)}" if shrink else word


def _provide(words: list[str], address: str) -> None:
    verb, flags = words[0], dict(word.lstrip("-").partition("=")[::2] for word in words[1:])
    source = flags.get("source", "")
    if verb == "prepare" and source in ("folder", "coco"):
        _fill(Path(flags["images"]), captions=source == "folder")
    if verb == "prepare" and flags.get("images") == "tables":
        _write_table(Path("tables"))
    if source == "coco" and "dataset_" in flags["captions"]:
        _write_karpathy(Path(flags["captions"]))
    elif source == "coco":
        _write_coco(Path(flags["captions"]))
    for flag in ("images", "captions", "files"):
        if maker := LAYOUTS.get(flags.get(flag, "")):
            maker(Path(flags[flag]))
    if verb == "download" or (verb == "prepare" and source == "hdf5"):
        _write_hdf5(Path(flags["captions"]), address)
    if verb == "prepare" and source == "hdf5":
        _fill(Path(flags["images"]), captions=False)
    if vectors := flags.get("word_vectors"):
        lines = [f"{word} {code} 0.5 -1e-1" for code, word in enumerate((*WORDS, "unk"))]
        Path(vectors).write_text("\n".join(lines) + "\n")
    if verb in ("train", "sweep") and not Path(flags.get("config.data.dir", ".")).exists():
        size = "--image_size=64"
        run(["prepare", "--source=shapes", size, f"--out={flags['config.data.dir']}"], address)
    if verb in ("sample", "report", "evaluate") and not Path(flags.get("workdir", ".")).exists():
        made = [f"--workdir={flags['workdir']}", "--config.data.dir=data/made"]
        run(["train", "--config=configs/tiny.py", *made], address)


def _fill(folder: Path, captions: bool) -> None:
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for index in range(COUNT):
        (folder / f"{index}.jpg").write_bytes(jpeg(index))
        if captions:
            (folder / f"{index}.txt").write_text(f"a {WORDS[1 + index % 4]} dog\n")


def _write_table(folder: Path) -> None:
    """Captions in a table instead of text files."""
    for path in folder.glob("*.txt"):
        path.unlink()
    rows = "".join(f"{index}.jpg,a {WORDS[1 + index % 4]} dog\n" for index in range(COUNT))
    (folder / "captions.csv").write_text("file,caption\n" + rows)


def _write_coco(path: Path) -> None:
    images = [{"id": index, "file_name": f"{index}.jpg"} for index in range(COUNT)]
    captions = [
        {"id": index, "image_id": index, "caption": f"a {WORDS[1 + index % 4]} dog"}
        for index in range(COUNT)
    ]
    path.write_text(json.dumps({"images": images, "annotations": captions}))


def _write_hdf5(path: Path, address: str) -> None:
    if path.exists():
        return
    codes = np.zeros((COUNT, 17), np.int64)
    codes[:, :4] = [1, 4, 6, 2]
    names = (*SPECIAL_WORDS, *WORDS)
    with h5py.File(path, "w") as file:
        file["train_cap"] = codes
        file["train_imid"] = np.arange(1, COUNT + 1)
        file["train_url"] = np.array([f"{address}/{i}.jpg".encode() for i in range(COUNT)])
        table = np.zeros(1, [(name, "i8") for name in names])
        table[0] = tuple(range(len(names)))
        file["word_code"] = table


def caption(index: int) -> str:
    return f"a {WORDS[1 + index % 4]} dog"


def _write_rows(path: Path, between: str, header: str = "", number: str = "") -> None:
    names = [number.format(index) if number else f"{index}.jpg" for index in range(COUNT)]
    rows = [f"{name}{between}{caption(index)}" for index, name in enumerate(names)]
    path.write_text("\n".join([header, *rows] if header else rows) + "\n")


def _write_karpathy(path: Path) -> None:
    images = [
        {
            "filename": f"{index}.jpg",
            "split": "val" if index % 8 == 0 else "train",
            "sentences": [{"raw": caption(index)}],
        }
        for index in range(COUNT)
    ]
    path.write_text(json.dumps({"images": images, "dataset": "flickr8k"}))


def _write_imagefolder(folder: Path) -> None:
    """As the library `datasets` takes it: a folder a split, metadata.jsonl in each."""
    for split, start in (("train", 0), ("validation", 32)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        indices = range(start, 32 if split == "train" else COUNT)
        for index in indices:
            (folder / split / f"{index}.jpg").write_bytes(jpeg(index))
        lines = [json.dumps({"file_name": f"{i}.jpg", "text": caption(i)}) for i in indices]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    for text in (*folder.glob("*.txt"), *folder.glob("*.jpg")):
        text.unlink()


def _write_birds(folder: Path) -> None:
    for path in (*folder.glob("*.txt"), *folder.glob("*.jpg")):
        path.unlink()
    for index in range(COUNT):
        for kind, data in (("images", jpeg(index)), ("text", caption(index).encode())):
            suffix = {"images": "jpg", "text": "txt"}[kind]
            path = folder / kind / f"00{index % 3}.Bird" / f"{index}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _write_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for name, indices in (("train", range(32)), ("validation", range(32, COUNT))):
        images = [{"bytes": jpeg(index), "path": f"{index}.jpg"} for index in indices]
        table = pa.table({"image": images, "text": [caption(index) for index in indices]})
        pq.write_table(table, folder / f"{name}-00000-of-00001.parquet")


def _write_shards(pattern: Path) -> None:
    folder = pattern.parent
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for index in range(shard, COUNT, 2):
                for suffix, data in (("jpg", jpeg(index)), ("txt", caption(index).encode())):
                    info = tarfile.TarInfo(f"{index:09d}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


LAYOUTS = {
    "captions.txt": lambda path: _write_rows(path, ",", "image,caption"),
    "Flickr8k.token.txt": lambda path: _write_rows(path, "\t", number="{}.jpg#0"),
    "results.csv": lambda path: _write_rows(path, "| 0| ", "image_name| comment_number| comment"),
    "captions.tsv": lambda path: _write_rows(path, "\t", "filepath\ttitle"),
    "names.csv": lambda path: _write_rows(path, ";", "foto;words"),
    "captions.json": lambda path: path.write_text(
        json.dumps({f"{index}.jpg": [caption(index)] for index in range(COUNT)})
    ),
    "imagefolder": _write_imagefolder,
    "birds": _write_birds,
    "parquet": _write_parquet,
    "shards/{00000..00001}.tar": _write_shards,
}
