"""`t2igan sample` as it is typed: captions in, files out, mistakes in one line."""

import argparse
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import t2igan
from input_pipeline.errors import UserError
from t2igan.cli import sample as sample_verb
from t2igan.cli.main import main


@pytest.fixture
def sample(untrained_run, tmp_path, monkeypatch):
    """Calls the subcommand in an empty folder; returns its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda *flags: main(["sample", f"--workdir={untrained_run}", *flags])


def test_a_grid_with_the_captions_on_it(sample, tmp_path, capsys):
    flags = ["--caption=a red star", "--caption=the blue circle", "--num=3", "--out=new/grid.png"]
    assert sample(*flags) == 0
    assert capsys.readouterr().out == "6 images of step 20: new/grid.png\n"
    with Image.open(tmp_path / "new/grid.png") as image:
        assert image.size == (200 + 3 * 132 + 4, 2 * 132 + 4)


def test_a_walk_as_an_animation(sample, tmp_path, monkeypatch):
    flags = ["--caption=a red star", "--caption=the blue circle", "--interpolate=captions"]
    assert sample(*flags, "--num=5", "--out=walk.gif") == 0
    assert sample(*flags, "--num=5", "--out=walk.png") == 0
    with Image.open(tmp_path / "walk.gif") as image:
        assert image.n_frames == 8  # there and back, the ends once
        assert image.size[0] >= 128
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert sample(*flags, "--num=5", "--out=walk.mp4") == 2  # no ffmpeg


@pytest.mark.parametrize("name", ["a.jpg", "a.WEBP"])
def test_other_formats_of_a_grid(sample, tmp_path, name):
    assert sample("--caption=a red star", "--num=1", f"--out={name}") == 0
    with Image.open(tmp_path / name) as image:
        image.load()


def test_a_folder_has_the_same_images_and_says_how_each_was_made(
    sample, tmp_path, untrained_run, monkeypatch
):
    monkeypatch.setattr(sample_verb, "_AT_ONCE", 2)  # three captions: two rounds of drawing
    captions = ["a red star", "the blue circle", "large"]
    flags = [f"--caption={caption}" for caption in captions]
    assert sample(*flags, "--num=2", "--seed=5", "--out=folder", "--step=10") == 0
    lines = (tmp_path / "folder/manifest.jsonl").read_text().splitlines()
    expected = t2igan.load(untrained_run, 10).sample(captions, num=2, seed=5)
    assert len(lines) == 6
    for line, image in zip(map(json.loads, lines), expected.reshape(6, 16, 16, 3), strict=True):
        with Image.open(tmp_path / "folder" / line["file"]) as found:
            np.testing.assert_array_equal(np.asarray(found), image)
    assert line == {
        "file": "00002_001.png",
        "caption": "large",
        "num": 1,
        "seed": 5,
        "truncation": 1.0,
        "interpolate": None,
        "workdir": str(untrained_run),
        "step": 10,
    }


def test_a_full_disk_leaves_the_image_that_was_there(sample, tmp_path, capsys, monkeypatch):
    (tmp_path / "grid.png").write_bytes(b"before")

    def save(image, path, format):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    assert sample("--caption=a red star", "--num=1", "--out=grid.png") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    assert (tmp_path / "grid.png").read_bytes() == b"before"


def test_captions_from_a_file(sample, tmp_path):
    text = "\ufeffa red star\r\n\n  the blue circle  \n"
    (tmp_path / "captions.txt").write_text(text, encoding="utf-8", newline="")
    assert sample("--captions_file=captions.txt", "--num=1", "--out=folder") == 0
    lines = (tmp_path / "folder/manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["caption"] for line in lines] == ["a red star", "the blue circle"]


@pytest.mark.parametrize("what", ["captions", "noises"])
def test_walks_end_at_the_plain_images(sample, tmp_path, what):
    flags = ["--caption=a red star", "--caption=the blue circle", "--truncation=0.7"]
    assert sample(*flags, "--num=2", "--out=plain") == 0
    assert sample(*flags, "--num=4", f"--interpolate={what}", "--out=walk") == 0

    def picture(name):
        with Image.open(tmp_path / name) as image:
            return np.asarray(image)

    ends = ["00000_000.png", "00001_000.png" if what == "captions" else "00000_001.png"]
    for end, place in zip(ends, (0, 3), strict=True):
        found = picture(f"walk/00000_{place:03d}.png")
        np.testing.assert_array_equal(found, picture(f"plain/{end}"))


def test_unknown_and_lost_words_are_told_on_stderr(sample, capsys):
    assert sample("--caption=a smal zebra a a a a red star", "--num=1") == 0
    error = capsys.readouterr().err
    assert "unknown words, drawn as x_UNK_: smal (near: small); zebra" in error
    assert "the end is not seen" in error
    assert "without 'a red star'" in error


def test_long_captions_and_words_are_shortened_in_warnings(sample, capsys):
    assert sample("--caption=" + "red " * 10_000, "--caption=" + "z" * 10_000, "--num=1") == 0
    error = capsys.readouterr().err
    assert "the end is not seen" in error
    assert "zzz" in error
    assert max(map(len, error.splitlines())) < 600


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary() | st.text().map(str.encode))
def test_any_bytes_are_captions_or_a_clear_line(tmp_path, data):
    path = tmp_path / "captions.txt"
    path.write_bytes(data)
    args = argparse.Namespace(caption=[], captions_file=str(path))
    try:
        captions = sample_verb.read_captions(args)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - captions are right too
    else:
        assert all(any(letter.isalnum() for letter in caption) for caption in captions)


def test_an_endless_captions_file_is_refused(sample, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sample_verb, "_MOST_BYTES", 1 << 20)
    assert sample("--captions_file=/dev/zero") == 2
    assert "/dev/zero is not a file" in capsys.readouterr().err
    long = tmp_path / "long.txt"
    long.write_bytes(b"a\n" * (1 << 20))
    assert sample(f"--captions_file={long}") == 2
    assert "long.txt has more than 1 MiB of captions: split it" in capsys.readouterr().err


def test_captions_may_be_in_any_kind_of_file_and_comments_are_none(tmp_path):
    def read(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return sample_verb.read_captions(argparse.Namespace(caption=[], captions_file=str(path)))

    assert read("a.txt", "# a comment\na dog\n\n  # another\r\na #1 cat\n") == ["a dog", "a #1 cat"]
    assert read("a.txt", "grün", "latin-1") == ["grün"]
    assert read("a.csv", "image,caption\nx.jpg,a dog\ny.jpg,a cat\n") == ["a dog", "a cat"]
    assert read("a.jsonl", '{"file": "x.jpg", "text": ["a dog", "a cat"]}') == ["a dog", "a cat"]


def test_many_unknown_words_stay_one_line():
    named = sample_verb.named({f"w{i}": [] for i in range(100)})
    assert named.endswith("w19; and 80 more")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "no caption"),
        (["--caption=  "], "has no word in it"),
        (["--caption=?!"], "has no word in it"),
        (["--caption=a \udcff"], r"the caption 'a \udcff' is not UTF-8 text"),
        (["--caption=a", "--num=0"], "--num=0: must be 1 to 10000"),
        (["--caption=a", "--num=1000000"], "--num=1000000"),
        (["--caption=a", "--num=1", "--interpolate=noises"], "--num=1: must be 2"),
        (["--caption=a", "--interpolate=captions"], "needs two captions"),
        (["--caption=a", "--interpolate=words"], "invalid choice: 'words'"),
        (["--caption=a", "--seed=-1"], "--seed=-1"),
        (["--caption=a", "--seed=x"], "invalid int value: 'x'"),
        (["--caption=a", "--truncation=nan"], "--truncation=nan"),
        (["--caption=a", "--step=newest"], "--step=newest: must be a number, latest or best"),
        (["--caption=a", "--step=²"], "--step=²"),
        (["--caption=a", "--step=7"], "no checkpoint of step 7; it has 10, 20"),
        (["--captions_file=absent.txt"], "absent.txt cannot be read: No such file"),
        (["--captions_file=."], "=. is not a file"),
        (["--captions_file=empty.txt"], "no caption"),
        (["--caption=a", "--out=a.bmp"], "grids are written as .png"),
        (["--caption=a", "--out=a.gif"], "is an animation: add --interpolate"),
        (["--caption=a", "--num=5000", "--out=a.webp"], "give a folder"),
        (["--caption=a", "--out=empty.txt/a.png"], "empty.txt is not a folder"),
        (["--caption=a", "--out=empty.txt"], "empty.txt is not a folder"),
        (["--caption=a", "--out=folder.png"], "is a directory: folder.png"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(sample, tmp_path, capsys, flags, told):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "folder.png").mkdir()
    assert sample(*flags) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.splitlines()[-1].startswith("t2igan: error: ")
    assert "Traceback" not in error


def test_a_run_that_is_none(tmp_path, capsys):
    assert main(["sample", f"--workdir={tmp_path}/absent", "--caption=a"]) == 2
    assert "is not a run's folder" in capsys.readouterr().err
