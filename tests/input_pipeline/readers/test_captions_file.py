"""Files of captions as people publish them: found by looking, and one bad row stops nothing."""

import csv
import io
import json
import os

import pytest

from input_pipeline.errors import UserError
from input_pipeline.readers.captions_file import open_captions
from input_pipeline.readers.rows import BadRow, Columns, Row

PLAIN = [("a.jpg", "a red dog , asleep"), ("b.jpg", "the cat"), ("c d.jpg", "three boats")]


def read(path, columns=None):
    return list(open_captions(path, columns).rows())


def pairs(path, columns=None):
    return [(row.name, caption) for row in read(path, columns) for caption in row.captions]


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def as_table(delimiter, header=("file", "caption"), end="\n"):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerows([header, *PLAIN] if header else PLAIN)
    return file.getvalue()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", [("Image Path", "Prompt"), None], ids=["header", "none"])
def test_delimiter_and_header_are_found(tmp_path, delimiter, header, name):
    assert pairs(write(tmp_path, as_table(delimiter, header), name)) == PLAIN


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encoding_and_ends_of_lines_are_found(tmp_path, encoding, end):
    text = end.join(["file,caption", "a.jpg,it\u2019s a \u201ccafé\u201d", "b.jpg,naïve"]) + end
    found = open_captions(write(tmp_path, text, encoding=encoding))
    assert [row.captions for row in found.rows()] == [("it\u2019s a \u201ccafé\u201d",), ("naïve",)]
    shown = {"cp1252": "Windows-1252"}.get(encoding, "UTF-16" if "16" in encoding else "UTF-8")
    assert shown in found.description()


def test_an_encoding_that_is_said_is_taken(tmp_path):
    path = write(tmp_path, "file,caption\na.jpg,赤い犬\n", encoding="shift_jis")
    assert pairs(path, Columns(encoding="shift_jis")) == [("a.jpg", "赤い犬")]
    with pytest.raises(UserError, match="--encoding=klingon: unknown"):
        open_captions(path, Columns(encoding="klingon"))


@pytest.mark.parametrize(
    "image",
    [
        "image",
        "file",
        "file_name",
        "filename",
        "filepath",
        "image_path",
        "image_name",
        "path",
        "Image",
    ],
)
@pytest.mark.parametrize(
    "caption", ["caption", "text", "title", "prompt", "comment", "description"]
)
def test_columns_are_called_as_the_field_calls_them(tmp_path, image, caption):
    path = write(tmp_path, f"number,{caption},{image}\n1,a dog,a.jpg\n")
    assert pairs(path) == [("a.jpg", "a dog")]


def test_several_columns_of_captions_and_lists_in_one(tmp_path):
    path = write(tmp_path, "file,caption_0,caption_1,split\na.jpg,x,y,val\nb.jpg,z,,train\n")
    assert read(path) == [
        Row("a.jpg", ("x", "y"), "validation", "line 2"),
        Row("b.jpg", ("z",), "train", "line 3"),
    ]
    path = write(tmp_path, "file,captions\na.jpg,\"['a dog', 'here, there']\"\n")
    assert read(path)[0].captions == ("a dog", "here, there")
    path = write(tmp_path, 'file,captions\na.jpg,"[""a dog"", ""a, cat""]"\n')
    assert read(path)[0].captions == ("a dog", "a, cat")


def test_lines_of_a_numbered_name_and_a_caption(tmp_path):
    text = "1_a.jpg#0\tA dog , here .\n" + 5 * "1_a.jpg#1\tthe dog\n" + "2.jpg.1#0\ta cat\n"
    path = write(tmp_path, text, "Flickr8k.token.txt")
    assert [name for name, _ in pairs(path)] == [*["1_a.jpg"] * 6, "2.jpg.1"]
    path = write(tmp_path, "a.jpg : a dog: big\nb.jpg : a cat\n", "colon.txt")
    assert pairs(path) == [("a.jpg", "a dog: big"), ("b.jpg", "a cat")]


def test_one_bad_row_does_not_stop_the_rest(tmp_path):
    text = (
        "file,number,caption\n"
        "a.jpg,0,a dog, unquoted, here\n"
        "b.jpg,1\n"
        ",2,a cat\n"
        'c.jpg,3,"never closed\n'
        "d.jpg,4,a boat\n" + "e.jpg,5," + "x" * (1 << 20) + "\nf.jpg,6,a kite\n"
    )
    found = read(write(tmp_path, text))
    assert [row for row in found if isinstance(row, BadRow)] == [
        BadRow("line 3", "too_few_fields"),
        BadRow("line 4", "no_file_name"),
        BadRow("line 7", "too_long"),
    ]
    good = {row.name: row.captions[0] for row in found if isinstance(row, Row)}
    assert good["a.jpg"] == "a dog, unquoted, here"
    assert good["d.jpg"] == "a boat"
    assert good["f.jpg"] == "a kite"


def test_a_caption_may_have_ends_of_lines_in_quotes(tmp_path):
    text = 'file,caption\na.jpg,"a dog\nand a ""cat"""\nb.jpg,a 5" nail\n'
    assert pairs(write(tmp_path, text)) == [
        ("a.jpg", 'a dog\nand a "cat"'),
        ("b.jpg", 'a 5" nail'),
    ]


def test_columns_and_delimiter_that_are_said(tmp_path):
    path = write(tmp_path, "foto:words:other\na.jpg:a dog:1\nb.jpg:a cat:2\n")
    columns = Columns(image="foto", caption="words", delimiter=":")
    assert pairs(path, columns) == [("a.jpg", "a dog"), ("b.jpg", "a cat")]
    assert pairs(path, Columns(image="1", caption="2", delimiter=":"))[-1] == ("b.jpg", "a cat")
    with pytest.raises(UserError, match=r"--image_column=nope .* has the columns foto, words"):
        open_captions(path, Columns(image="nope", caption="words", delimiter=":"))
    with pytest.raises(UserError, match="line 1 names no column of images and captions; it has"):
        open_captions(write(tmp_path, "colour,price\nred,3\n"))


RECORDS = [{"image": "a.jpg", "caption": "a dog"}, {"image": "b.jpg", "caption": "a cat"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", json.dumps(RECORDS)),
        ("t.json", json.dumps({"a.jpg": ["a dog"], "b.jpg": "a cat"})),
        ("t.json", json.dumps({"a.jpg": {"caption": "a dog"}, "b.jpg": {"text": "a cat"}})),
        ("t.json", json.dumps({"data": RECORDS, "version": 1}, indent=2)),
        ("t.json", "\ufeff" + json.dumps(RECORDS)),
        ("t.jsonl", "\n\n".join(map(json.dumps, RECORDS))),
        ("t.txt", "\n".join(map(json.dumps, RECORDS))),
        (
            "t.jsonl",
            "\n".join(
                json.dumps({"file_name": r["image"], "text": [r["caption"]]}) for r in RECORDS
            ),
        ),
        (
            "t.json",
            json.dumps(
                [
                    {"image": {"path": "a.jpg"}, "sentences": [{"raw": "a dog"}]},
                    {"url": "http://x/y/b.jpg?z=1", "prompt": "a cat"},
                ]
            ),
        ),
    ],
)
def test_json_of_any_shape(tmp_path, name, content):
    assert pairs(write(tmp_path, content, name)) == [("a.jpg", "a dog"), ("b.jpg", "a cat")]


def test_bad_elements_are_counted(tmp_path):
    lines = [
        '{"file": "a.jpg", "caption": "x"}',
        '{"file"',
        "[1]",
        '{"caption": "y"}',
        "3",
        '{"file": "b.jpg"}',
        '{"file": "c.jpg", "captions": []}',
    ]
    found = read(write(tmp_path, "\n".join(lines), "t.jsonl"))
    assert [row.reason for row in found if isinstance(row, BadRow)] == [
        "not_json",
        "no_object",
        "no_file_name",
        "no_object",
        "no_caption",
    ]
    assert found[-1] == Row("c.jpg", ("",), "", "line 7")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"PK\x03\x04", "is a ZIP archive: unpack it"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"PAR1", "use --source=parquet"),
        (bytes(257) + b"ustar\x0000", "is a tar archive: use --source=webdataset"),
        (b"\x89HDF\r\n", "use --source=hdf5"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_captions_file_is_called_by_its_name(tmp_path, head, message):
    with pytest.raises(UserError, match=message):
        open_captions(write(tmp_path, head))


def test_a_pipe_does_not_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="is not a file"):
        open_captions(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        open_captions(tmp_path / "none.csv")
