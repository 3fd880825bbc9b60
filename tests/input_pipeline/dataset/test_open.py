import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset import reader as shard_reader
from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError

SMALL_FILES = ["dataset_info.json", "report.json", "vocabulary.json", "word_vectors.npy"]
SHARD = "captioned_images-train.array_record-00001-of-00004"


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy of the prepared data set, to be damaged."""
    return Path(shutil.copytree(prepared.path, tmp_path / "copy"))


def _resum(folder: Path) -> None:
    """Makes the sums and the fingerprint fit the files again, so that what is beneath is tried."""
    files = sorted(f for f in folder.iterdir() if f.name not in ("SHA256SUMS", "report.json"))
    sums = {
        file.name: dataset_folder.hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    (folder / "SHA256SUMS").write_text("".join(f"{s}  {name}\n" for name, s in sums.items()))
    report = json.loads((folder / "report.json").read_text())
    report["fingerprint"] = dataset_folder.dataset_hash(sums)
    (folder / "report.json").write_text(json.dumps(report))


def _change_json(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def _assert_equals(records, written):
    assert len(records) == len(written)
    batch = records.__getitems__(range(len(written)))
    assert batch["key"] == [record.key for record in written]
    np.testing.assert_array_equal(batch["image"], np.stack([r.image for r in written]))
    for captions, record in zip(batch["captions"], written, strict=True):
        np.testing.assert_array_equal(captions, record.captions)


def test_it_holds_what_was_written(prepared):
    dataset = prepared.dataset
    assert dataset.splits == {"train": 90, "validation": 11}
    assert (dataset.image_size, dataset.caption_length, len(dataset.vocabulary)) == (8, 6, 40)
    assert dataset.word_vectors.shape == (40, 5)
    assert dataset.hash == json.loads((prepared.path / "report.json").read_text())["fingerprint"]
    for split, written in prepared.records.items():
        _assert_equals(dataset.source(split), written)


def test_tfds_reads_the_same(prepared):
    builder = tfds.builder_from_directory(prepared.path)
    source = prepared.dataset.source("train")
    for index, theirs in enumerate(builder.as_data_source(split="train")):
        mine = source[index]
        assert mine["key"].encode() == theirs["key"]
        np.testing.assert_array_equal(mine["image"], theirs["image"])
        np.testing.assert_array_equal(mine["captions"], theirs["captions"])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(indices=st.lists(st.integers(0, 89), max_size=40))
def test_any_records_in_any_order(prepared, indices):
    batch = prepared.dataset.source("train").__getitems__(indices)
    assert batch["image"].shape == (len(indices), 8, 8, 3)
    assert batch["key"] == [prepared.records["train"][i].key for i in indices]


@pytest.mark.parametrize("index", [-1, 90])
def test_an_index_outside_is_refused(prepared, index):
    with pytest.raises(IndexError, match="outside 0 to 89"):
        prepared.dataset.source("train")[index]


@pytest.mark.parametrize(
    ("split", "start", "stop"),
    [
        ("train[:85%]", 0, 76),
        ("train[85%:]", 76, 90),
        ("train[10:20]", 10, 20),
        ("train[80:500]", 80, 90),
        ("train[:]", 0, 90),
    ],
)
def test_a_part_of_a_split(prepared, split, start, stop):
    _assert_equals(prepared.dataset.source(split), prepared.records["train"][start:stop])


@pytest.mark.parametrize(
    ("split", "named"),
    [
        ("test", "no split 'test'; it has train, validation"),
        ("test[:10]", "no split"),
        ("train[", "no split"),
        ("train[a:b]", "no split"),
        ("train[1:2:3]", "no split"),
        ("train[20:10]", "holds no image; train has 90"),
        ("train[:0%]", "holds no image"),
    ],
)
def test_a_split_that_is_not_there_is_refused(prepared, split, named):
    with pytest.raises(UserError, match=named.replace("[", r"\[")):
        prepared.dataset.source(split)


def test_few_files_may_be_open(prepared, monkeypatch):
    monkeypatch.setattr(shard_reader, "_allow_open_files", lambda wanted: 1)
    source = prepared.dataset.source("train")
    _assert_equals(source, prepared.records["train"])
    assert source._reader.cache_info().currsize == 1


def test_the_limit_of_open_files_is_raised(monkeypatch):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))
    assert shard_reader._allow_open_files(55) == 55
    assert limits == []
    assert shard_reader._allow_open_files(2000) == 2000
    assert limits == [(2256, 4096)]
    assert shard_reader._allow_open_files(5000) == 4096 - 256


def test_there_is_no_data_set(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path, named in (
        (tmp_path / "none", "there is no data set at"),
        (tmp_path / "file", "is a file; a data set is a folder"),
        (tmp_path / "folder", "not a finished data set, it has no report.json"),
        (tmp_path / ("x" * 300), "there is no data set at"),
        (Path("a\0b"), "there is no data set at"),
    ):
        with pytest.raises(UserError, match=named) as raised:
            open_dataset(path)
        assert "t2igan prepare" in str(raised.value)


@pytest.mark.parametrize("name", [*SMALL_FILES[:1], *SMALL_FILES[2:], "SHA256SUMS"])
def test_a_missing_or_exchanged_file_is_named(copy, name):
    (copy / name).write_bytes(b"something else\n")
    with pytest.raises(UserError, match=f"{name} .*restore the file or prepare the data set again"):
        open_dataset(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name} cannot be read .No such file"):
        open_dataset(copy)


def test_a_changed_word_is_noticed(copy):
    path = copy / "vocabulary.json"
    path.write_text(path.read_text().replace("word7", "wurd7"))
    with pytest.raises(UserError, match=r"vocabulary\.json is not the file that prepare wrote"):
        open_dataset(copy)


def test_another_version_is_told(copy):
    _change_json(copy / "dataset_info.json", version="2.0.0")
    _resum(copy)
    with pytest.raises(UserError, match=r"format version 2\.0\.0; this t2igan reads 1\.x"):
        open_dataset(copy)


@pytest.mark.parametrize(
    ("name", "fields", "named"),
    [
        ("report.json", {"image_size": "8"}, "image_size must be an integer"),
        ("report.json", {"image_size": True}, "image_size must be an integer"),
        ("report.json", {"image_size": 10**9}, "from 1 to 4096"),
        ("report.json", {"caption_length": None}, "caption_length must be an integer"),
        ("report.json", {"fingerprint": "0" * 64}, "does not belong to this data set"),
        ("report.json", {"fingerprint": [1]}, "fingerprint must be a text"),
        ("dataset_info.json", {"name": "../../etc"}, "name must be a text"),
        ("dataset_info.json", {"splits": {}}, "splits must be a list"),
        ("dataset_info.json", {"splits": [1]}, "no proper name"),
        ("dataset_info.json", {"splits": [{"name": "a/b"}]}, "no proper name"),
        ("dataset_info.json", {"splits": [{"name": "train"}]}, "shards' lengths"),
        ("dataset_info.json", {"splits": [{"name": "t", "shardLengths": [3]}]}, "shards' lengths"),
        (
            "dataset_info.json",
            {"splits": [{"name": "t", "shardLengths": ["0"]}]},
            "shards' lengths",
        ),
    ],
)
def test_fields_of_a_wrong_type_or_range_are_named(copy, name, fields, named):
    _change_json(copy / name, **fields)
    if name != "report.json":
        _resum(copy)
    with pytest.raises(UserError, match=named):
        open_dataset(copy)


@pytest.mark.parametrize("field", ["image_size", "caption_length"])
def test_records_of_another_shape_are_refused_when_the_split_is_opened(copy, field):
    _change_json(copy / "report.json", **{field: 7})
    with pytest.raises(
        UserError, match=r"array_record.* is damaged or unreadable .*not a record of"
    ):
        open_dataset(copy).source("train")


def test_codes_beyond_the_vocabulary_are_refused(copy):
    words = json.loads((copy / "vocabulary.json").read_text())["words"][:10]
    (copy / "vocabulary.json").write_text(json.dumps({"words": words}))
    np.save(copy / "word_vectors.npy", np.ones((10, 5), np.float32))
    _resum(copy)
    source = open_dataset(copy).source("train")
    with pytest.raises(UserError, match=r"code 1[0-9] in a vocabulary of 10 words"):
        source.__getitems__(range(40))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (np.ones((39, 5), np.float32), "39 rows for a vocabulary of 40"),
        (np.ones((40, 5)), "not a float32 matrix"),
        (np.ones(40, np.float32), "not a float32 matrix"),
        (np.full((40, 5), np.nan, np.float32), "not finite"),
        (np.array([[{}]] * 40), "not a NumPy array"),
    ],
)
def test_a_wrong_word_vector_table_is_refused(copy, table, named):
    np.save(copy / "word_vectors.npy", table)
    _resum(copy)
    with pytest.raises(UserError, match=named):
        open_dataset(copy)


def test_a_shard_that_is_missing_short_or_anothers(copy):
    dataset, shard = open_dataset(copy), copy / SHARD
    content = shard.read_bytes()
    last = copy / "captioned_images-train.array_record-00003-of-00004"
    for damaged in (b"", content[: len(content) // 2], content[:-1], last.read_bytes()):
        shard.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{SHARD} is damaged") as raised:
            dataset.source("train")
        assert "\n" not in str(raised.value)
    shard.unlink()
    with pytest.raises(UserError, match=f"{SHARD} is missing"):
        dataset.source("train")


damages = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(
        st.just("flip"), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1)
    ),
    st.tuples(st.just("fill"), st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=3000))),
    st.tuples(st.just("add"), st.binary(min_size=1, max_size=200)),
)


def _damaged(content: bytes, damage) -> bytes:
    kind, value = damage
    if kind == "cut":
        return content[: int(value * len(content))]
    if kind == "add":
        return content + value
    out = bytearray(content)
    for place, bits in value if kind == "flip" else ():
        out[min(int(place * len(out)), len(out) - 1)] ^= bits
    if kind == "fill":
        place = int(value[0] * len(out))
        out[place : place + len(value[1])] = value[1]
    return bytes(out)


def _complaint(call) -> str:
    """What the user is told, if anything. Other exceptions pass."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(damage=damages, near_the_start=st.booleans())
def test_a_damaged_shard_gives_the_right_records_or_a_user_error(
    prepared, tmp_path, damage, near_the_start
):
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        shutil.copytree(prepared.path, folder)
    content = (prepared.path / SHARD).read_bytes()
    length = 12_000 if near_the_start else len(content)  # where the records are, and the rest
    (folder / SHARD).write_bytes(_damaged(content[:length], damage) + content[length:])

    def read():
        _assert_equals(open_dataset(folder).source("train"), prepared.records["train"])

    assert "\n" not in _complaint(read)


@FUZZ
@given(name=st.sampled_from([*SMALL_FILES, "SHA256SUMS"]), damage=damages, resum=st.booleans())
def test_a_damaged_small_file_never_gives_a_traceback(prepared, tmp_path, name, damage, resum):
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        shutil.copytree(prepared.path, folder)
    for other in [*SMALL_FILES, "SHA256SUMS"]:
        shutil.copy(prepared.path / other, folder)
    (folder / name).write_bytes(_damaged((folder / name).read_bytes(), damage))
    if resum and name not in ("report.json", "SHA256SUMS"):
        _resum(folder)
    assert "\n" not in _complaint(lambda: open_dataset(folder).source("train")[50])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
known_fields = st.sampled_from(
    ["image_size", "caption_length", "fingerprint", "version", "name", "splits", "words"]
)
split_entries = st.fixed_dictionaries(
    {}, optional={"name": json_values | st.just("train"), "shardLengths": json_values}
)


@FUZZ
@given(
    name=st.sampled_from(["dataset_info.json", "report.json", "vocabulary.json"]),
    whole=st.one_of(
        json_values,
        st.dictionaries(
            known_fields, json_values | st.lists(split_entries, max_size=3), max_size=4
        ),
    ),
    kept=st.booleans(),
)
def test_any_json_is_judged(prepared, tmp_path, name, whole, kept):
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        shutil.copytree(prepared.path, folder)
    for other in [*SMALL_FILES, "SHA256SUMS"]:
        shutil.copy(prepared.path / other, folder)
    old = json.loads((folder / name).read_text())
    new = {**old, **whole} if kept and isinstance(whole, dict) else whole
    (folder / name).write_text(json.dumps(new))
    if name != "report.json":
        _resum(folder)
    assert "\n" not in _complaint(lambda: open_dataset(folder).source("train")[50])
