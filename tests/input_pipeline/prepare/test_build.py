"""The subcommand prepare, from files to a data set that is whole or not there."""

import csv
import json
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.images import decode as image_files
from input_pipeline.prepare import build as prepare
from input_pipeline.prepare import write as dataset_writer
from input_pipeline.sources.base import Example
from t2igan.cli import main as cli
from t2igan.cli import prepare as prepare_flags


def _encoded(color, form="PNG", **options):
    file = BytesIO()
    Image.new("RGB", (9, 7), color).save(file, form, **options)
    return file.getvalue()


def _noise(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


FAULTS = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html>404</html>",
    "truncated": _noise(99)[:900],
    "undecodable": b"\x89PNG\r\n\x1a\n" + bytes(99) + b"IEND",
    "animated": _encoded("red", "GIF", save_all=True, append_images=[Image.new("RGB", (9, 7))]),
}


def _folder(path, good=20):
    """20 photographs (of noise), one file of each fault, one without caption, one missing."""
    path.mkdir()
    for index in range(good):
        (path / f"{index:02d}.jpg").write_bytes(_noise(index))
        (path / f"{index:02d}.txt").write_text(f"image number{index}\nthe image\n")
    for reason, data in FAULTS.items():
        (path / f"{reason}.jpg").write_bytes(data)
        (path / f"{reason}.txt").write_text("a fault")
    (path / "missing.txt").write_text("a fault")
    (path / "no_captions.jpg").write_bytes(_noise(1))
    return path


def _run(*flags):
    return cli.main(["prepare", *map(str, flags)])


def _prepare(images, out, *flags):
    flags = ["--image_size=8", "--word_vector_dim=3", "--workers=2", *flags]
    assert _run("--source=folder", f"--images={images}", f"--out={out}", *flags) == 0
    return json.loads((out / "report.json").read_text())


@pytest.fixture
def images(tmp_path):
    return _folder(tmp_path / "images")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_folder_becomes_a_data_set(images, out, capsys):
    report = _prepare(images, out)
    reasons = [*FAULTS, "missing", "no_captions"]
    assert report["rejected"] == dict.fromkeys(reasons, 1)
    assert (report["examples"], report["captions"]) == (20, 40)
    assert report["word_vectors"] == {
        "file": None, "drawn_from_seed": 0, "dim": 3, "words_without": []
    }  # fmt: skip
    with (out / "rejected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file"].partition(".")[0]: row["reason"] for row in rows} == dict(
        zip(reasons, reasons, strict=True)
    )
    dataset = open_dataset(out)
    assert sum(dataset.splits.values()) == 20
    assert dataset.word_vectors.shape == (len(dataset.vocabulary), 3)
    for split, size in report["splits"].items():
        batch = dataset.source(split).__getitems__(range(size["examples"]))
        assert sum(map(len, batch["captions"])) == size["captions"]
        for key, image, captions in zip(*batch.values(), strict=True):
            expected = image_files.resize(image_files.decode(images / key), 8)
            np.testing.assert_array_equal(image, expected)
            texts = [f"image number{int(key[:2])}", "the image"]
            np.testing.assert_array_equal(
                captions, [dataset.vocabulary.encode(t, 17) for t in texts]
            )
    printed = capsys.readouterr()
    assert "20 images of 8x8 pixels" in printed.out
    assert "1 missing" in printed.out
    assert "drawn from seed 0" in printed.out
    assert "images/s" in printed.err


def test_validation_words_are_not_in_the_vocabulary(images, out):
    _prepare(images, out, "--validation_fraction=0.4")
    dataset = open_dataset(out)
    keys = {
        split: dataset.source(split).__getitems__(range(n))["key"]
        for split, n in dataset.splits.items()
    }
    assert len(keys["validation"]) > 2
    for split, names in keys.items():
        for key in names:
            assert (f"number{int(key[:2])}" in dataset.vocabulary.words) == (split == "train")


def test_the_result_does_not_depend_on_threads_or_shards_but_on_every_input(images, tmp_path):
    def fingerprint(name, *flags):
        return _prepare(images, tmp_path / name, *flags)["fingerprint"]

    first = fingerprint("a")
    assert fingerprint("b", "--workers=5") == first
    others = [
        fingerprint("c", "--seed=1"),
        fingerprint("d", "--resize=center_crop"),
        fingerprint("e", "--caption_length=9"),
        fingerprint("f", "--vocab_size=9"),
    ]
    (images / "00.jpg").write_bytes(_noise(1234))
    others.append(fingerprint("g"))
    assert len({first, *others}) == 6


def test_shards_of_a_chosen_size(images, out):
    _prepare(images, out, "--shard_size=3", "--validation_fraction=0.3")
    info = json.loads((out / "dataset_info.json").read_text())
    for split in info["splits"]:
        lengths = list(map(int, split["shardLengths"]))
        assert all(length == 3 for length in lengths[:-1])
        assert 0 < lengths[-1] <= 3


def test_sources_with_splits_of_their_own(out):
    flags = ["--source=shapes", "--num_examples=60", "--image_size=32", f"--out={out}"]
    assert _run(*flags, "--test_fraction=0.1") == 2
    assert not out.exists()
    assert _run(*flags) == 0
    assert open_dataset(out).splits == {"train": 48, "validation": 3, "test": 6, "compositions": 3}


def test_an_existing_data_set_is_replaced_only_when_told(images, out, capsys):
    first = _prepare(images, out)
    assert _run("--source=folder", f"--images={images}", f"--out={out}") == 2
    assert "add --overwrite" in capsys.readouterr().err
    second = _prepare(images, out, "--overwrite", "--image_size=16")
    assert (first["image_size"], second["image_size"]) == (8, 16)
    assert open_dataset(out).image_size == 16
    assert [path.name for path in out.parent.iterdir()] == ["images", "out"]


def test_a_failed_replacement_leaves_the_old_one(images, out, capsys):
    first = _prepare(images, out)
    for path in images.glob("*.jpg"):
        path.write_bytes(b"")
    flags = ["--source=folder", f"--images={images}", f"--out={out}", "--overwrite"]
    assert _run(*flags) == 2
    error = capsys.readouterr().err
    assert "no image can be used at all: rejected 25 empty, 1 " in error
    assert open_dataset(out).hash == first["fingerprint"]
    there = ["images", "out", "out.rejected.csv"]  # why it failed stays
    assert sorted(path.name for path in out.parent.iterdir()) == there
    assert "00.jpg,empty" in (out.parent / "out.rejected.csv").read_text()


def test_a_folder_that_is_no_data_set_is_never_replaced(images, capsys):
    flags = ["--source=folder", f"--images={images}", f"--out={images}", "--overwrite"]
    assert _run(*flags) == 2
    assert "is not a data set" in capsys.readouterr().err
    assert len(list(images.iterdir())) == 52


def test_an_empty_folder_may_be_the_data_set(images, out):
    out.mkdir()
    _prepare(images, out)


def test_help_shows_the_flags_of_the_source(capsys):
    assert _run("--source=folder", "--help") == 0
    folder = capsys.readouterr().out
    assert _run("--source", "shapes", "--help") == 0
    shapes = capsys.readouterr().out
    assert _run("--help") == 0
    general = capsys.readouterr().out
    assert "--images DIR" in folder
    assert "--images DIR" not in shapes
    assert "--num_examples" in shapes
    for text in (folder, shapes, general):
        assert "coco, folder, hdf5, parquet, shapes, tfds, webdataset" in " ".join(text.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out=x"], "prepare needs --source, e.g. --source=shapes"),
        (["--source=shapes"], "prepare needs --out"),
        (["--source=hdf", "--out=x"], "did you mean hdf5?"),
        (["--source=base", "--out=x"], "--source=base: coco, folder, hdf5, parquet, shapes"),
        (["--source=../x", "--out=x"], "are allowed"),
        (["--source=shapes", "--images=x"], "no flag --images"),
        (["--source=shapes", "--out=x", "--image_size=0"], "--image_size=0: 4 to 2048"),
        (["--source=shapes", "--out=x", "--image_size=48"], "give 32 or 64"),
        (["--source=shapes", "--out=x", "--image_size=a"], "invalid int value"),
        (["--source=shapes", "--out=x", "--resize=fit"], "--resize=fit: squash and center_crop"),
        (["--source=shapes", "--out=x", "--workers=0"], "--workers=0: 1 to"),
        (["--source=shapes", "--out=x", "--seed=-1"], "--seed=-1: 0 to"),
        (
            ["--source=shapes", "--out=x", "--word_vectors=a", "--word_vector_dim=2"],
            "leave out one",
        ),
        (["--source=folder", "--out=x", "--images=none"], "there is no such folder"),
        (["--source=folder", "--out=x", "--images=I", "--validation_fraction=nan"], "0 to 1"),
        (["--source=folder", "--out=x", "--images=I", "--test_fraction=1"], "0 to 1 is allowed"),
        (["--source=folder", "--out=x", "--images=I", "--test_fraction=.9"], "nothing to train on"),
        (["--source=folder", "--out=x", "--images=I", "--vocab_size=3"], "--vocab_size=3: 5 to"),
        (["--source=folder", "--out=x", "--images=I", "--word_vectors=no"], "no such file"),
        (["--source=folder", "--out=I/00.jpg", "--images=I"], "is not a data set"),
        (["--source=folder", "--out=I/00.jpg/x", "--images=I"], "00.jpg/x cannot be made"),
    ],
)
def test_mistakes_are_one_line(images, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "I").symlink_to(images)
    assert _run(*flags) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("t2igan: error: ")
    assert message in lines[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["I", "images"]


class _Fake:
    """A source of one split, made of pixels."""

    name = "fake"
    vocabulary = None

    def __init__(self, number, key=str, said=None):
        self._number, self._key, self._said = number, key, said

    def splits(self):
        return {"train": self._said or self._number}

    def examples(self, split, start, stop):
        for index in range(start, min(stop, self._number)):
            yield Example(self._key(index), np.full((8, 8, 3), index % 256, np.uint8), ("a dog",))

    def captions(self, split):
        yield "a dog"


@pytest.fixture
def run_fake(out, monkeypatch):
    def run(source, *flags):
        module = type("module", (), {"open_source": lambda args: source})
        monkeypatch.setattr(prepare, "source_module", lambda name: module)
        parser = cli._Parser()
        prepare_flags.add_flags(parser)
        flags = ["--source=fake", f"--out={out}", "--image_size=8", "--word_vector_dim=2", *flags]
        prepare_flags.main(parser.parse_args(flags))

    return run


def test_two_images_of_one_key_are_refused(run_fake, out):
    with pytest.raises(UserError, match="the same key"):
        run_fake(_Fake(10, key=lambda index: str(index % 9)), "--validation_fraction=0")
    assert not out.exists()


def test_a_source_that_gives_less_than_it_said_is_refused(run_fake, out):
    with pytest.raises(UserError, match="named 12 images at first and 10 in the end"):
        run_fake(_Fake(10, said=12))
    assert not out.exists()


def test_a_fault_of_the_source_is_not_hidden(run_fake, out):
    def key(index):
        if index == 7:
            raise ZeroDivisionError("a bug")
        return str(index)

    with pytest.raises(ZeroDivisionError):
        run_fake(_Fake(10, key))
    assert list(out.parent.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_images(run_fake, monkeypatch):
    monkeypatch.setattr(dataset_writer, "_KEYS_IN_MEMORY", 64)

    def peak(number):
        tracemalloc.start()
        run_fake(_Fake(number), "--shard_size=300", "--workers=2", "--overwrite")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    run_fake(_Fake(300))  # imports
    small, large = peak(600), peak(6000)
    assert large < small + 40 * (6000 - 600)  # bytes; a record has about 700


def test_the_real_photographs(flickr8k, glove, out):
    flags = [
        "--source=hdf5",
        f"--captions={flickr8k}/eee443_project_dataset_train.h5",
        f"--images={flickr8k}/images",
        f"--word_vectors={glove}",
        "--test_fraction=0.15",
        f"--out={out}",
    ]
    assert _run(*flags) == 0
    report = json.loads((out / "report.json").read_text())
    files = list((flickr8k / "images").iterdir())
    rejected = report["rejected"]
    assert report["examples"] + sum(rejected.values()) == 7000
    assert rejected["missing"] == 7000 - len(files)
    assert rejected["empty"] == sum(path.stat().st_size == 0 for path in files)
    assert rejected["html"] == sum(b"<html" in path.read_bytes()[:99].lower() for path in files)
    assert rejected["truncated"] > 5
    assert rejected["placeholder"] > 5
    assert sum(rejected.values()) < 70
    assert 30_900 < report["captions"] < 31_239
    assert len(report["word_vectors"]["words_without"]) <= 4
    sizes = report["splits"]
    assert sizes["validation"]["examples"] == pytest.approx(1050, abs=120)
    assert sizes["test"]["examples"] == pytest.approx(1050, abs=120)
    assert open_dataset(out).word_vectors.shape == (1004, 200)
