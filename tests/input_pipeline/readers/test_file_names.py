"""Names that are not quite those of the files: bridged where there is one answer, and counted."""

import unicodedata

import pytest

from input_pipeline.readers import file_names
from input_pipeline.readers.file_names import FileNames

FILES = ("IMG_1.JPG", "sub/deep/b.png", "000000000012.jpg", "twice/x.jpg", "other/x.jpg", "a.png")


@pytest.fixture
def folder(tmp_path):
    for name in (*FILES, unicodedata.normalize("NFD", "Müller café.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        ("a.png", "a.png", None),
        (" a.png ", "a.png", None),
        ("./a.png", "a.png", None),
        ("sub\\deep\\b.png", "sub/deep/b.png", file_names.SLASHES),
        ("C:\\data\\a.png", "a.png", file_names.FOLDERS),
        ("train2014/a.png", "a.png", file_names.FOLDERS),
        ("/home/me/images/a.png", "a.png", file_names.FOLDERS),
        ("img_1.jpg", "IMG_1.JPG", file_names.FORM),
        ("IMG_1", "IMG_1.JPG", file_names.SUFFIX),
        ("b.png", "sub/deep/b.png", file_names.BELOW),
        ("12", "000000000012.jpg", file_names.NUMBER),
        ("x.jpg", None, None),  # there are two
        ("none.png", None, None),
    ],
)
def test_a_name_finds_the_one_file_it_can_mean(folder, name, file, how):
    names = FileNames(folder)
    assert names.find(name) == file
    assert list(names.bridged) == ([how] if how else [])
    assert names.missing == (file is None)


def test_unicode_forms_are_one(folder):
    names = FileNames(folder)
    found = names.find("Müller café.jpg")
    assert found == unicodedata.normalize("NFD", "Müller café.jpg")
    assert "1 image found in another letter case or Unicode form" in next(names.notes())


def test_an_absolute_name_inside_the_folder_is_its_own(folder):
    names = FileNames(folder)
    assert names.find(str(folder / "sub/deep/b.png")) == "sub/deep/b.png"
    assert not names.bridged


@pytest.mark.parametrize("name", ["../a.png", "sub/../../a.png", "", "/", "a\0.png"])
def test_no_name_leads_out(folder, name):
    with pytest.raises(ValueError, match="out of the folder"):
        FileNames(folder).find(name)


def test_what_is_missing_is_said_with_the_nearest_file(folder):
    names = FileNames(folder)
    names.find("IMG_2.JPG")
    [note] = names.notes()
    assert note == (
        f"1 image missing, e.g. {folder}/IMG_2.JPG; the nearest file there is 'IMG_1.JPG'"
    )


def test_hidden_files_are_passed_over_and_circles_end(folder):
    (folder / "._a.png").touch()
    (folder / "circle").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    found = sorted(file_names.files_below(folder))
    assert "._a.png" not in found
    assert len(found) == len(FILES) + 2
