"""Sentence embeddings from the encoder into shards and out again, and encoders that misbehave."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.prepare.convert import Conversion
from input_pipeline.sources.base import Example
from input_pipeline.stream.train import eval_batches, train_stream
from input_pipeline.text import sentence_encoders
from input_pipeline.text.sentence_encoders import (
    Identity,
    SentenceEncoder,
    open_encoder,
    open_known,
)
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.cli import main as cli

# Seven numbers that tell any two texts apart, whatever else is encoded with them.
MODULE = """
import hashlib
import numpy as np

def encode(texts):
    digests = [hashlib.sha256(text.encode()).digest()[:7] for text in texts]
    return np.array([list(digest) for digest in digests]).reshape(-1, 7) / 100

class Named:
    name, sha256 = "letters v2", "0123456789abcdef"
    def __call__(self, texts):
        return 2 * encode(texts)

class Group:
    named = Named()

def fails(texts):
    raise RuntimeError("out of\\nmemory")

def flat(texts):
    return np.zeros(len(texts))

def short(texts):
    return np.zeros((1, 3))

def infinite(texts):
    return np.full((len(texts), 3), np.inf)

def large(texts):
    return np.full((len(texts), 3), 1e5)

def changing(texts):
    return np.zeros((len(texts), 3 + ("b" in texts)))

number = 3
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """A folder with a module `letters_of_a_test` of encoders."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "letters_of_a_test.py").write_text(MODULE)
    return folder


@pytest.fixture
def here(module, monkeypatch):
    """The module's folder is the working folder, as it is for who types the command."""
    monkeypatch.chdir(module)


def _texts(index: int) -> list[str]:
    return [f"image number{index}", "...", "the  image,\tagain"][: 1 + 2 * (index % 2)]


def _prepare(folder: Path, name: str, *flags: str) -> Path:
    """Twelve images with one or three captions, one of them without a word."""
    images = folder / "images"
    if not images.exists():
        images.mkdir()
        for index in range(12):
            pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(images / f"{index:02d}.png")
            (images / f"{index:02d}.txt").write_text("\n".join(_texts(index)) + "\n")
    flags = ("--image_size=8", "--word_vector_dim=3", "--validation_fraction=0.3", *flags)
    where = (f"--images={images}", f"--out={folder / name}")
    assert cli.main(["prepare", "--source=folder", *where, *flags]) == 0
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def plain(folder):
    """The data set without embeddings."""
    return open_dataset(_prepare(folder, "plain"))


@pytest.fixture(scope="module")
def prepared(folder, module):
    """The same with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(module)
        path = _prepare(folder, "set", "--sentence_encoder=letters_of_a_test:encode")
    return open_dataset(path)


def _expected(texts: list[str]) -> np.ndarray:
    known: dict = {}
    exec(MODULE, known)
    return known["encode"](texts).astype(np.float16)


def test_each_stored_embedding_is_the_encoders_for_the_caption(prepared):
    assert prepared.sentence_encoder == Identity("letters_of_a_test:encode", 7)
    assert len(prepared.splits) == 2
    for split, count in prepared.splits.items():
        batch = prepared.source(split, sentences=True).__getitems__(range(count))
        rows = zip(batch["key"], batch["captions"], batch["sentences"], strict=True)
        for key, captions, sentences in rows:
            kept = [" ".join(text.split()) for text in _texts(int(key[:2])) if text != "..."]
            assert len(captions) == len(kept)
            assert sentences.dtype == np.float16
            np.testing.assert_array_equal(sentences, _expected(kept))


def test_without_an_encoder_nothing_of_it_is_there(plain, prepared):
    assert plain.sentence_encoder is None
    assert "sentence" not in (plain.path / "features.json").read_text()
    assert "sentence" not in (plain.path / "report.json").read_text()
    with pytest.raises(UserError, match=r"no sentence embeddings: .*--sentence_encoder=minilm"):
        plain.source("train", sentences=True)
    for split, count in plain.splits.items():
        one, other = (data.source(split).__getitems__(range(count)) for data in (plain, prepared))
        assert one.keys() == other.keys() == {"key", "image", "captions"}
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(
            np.concatenate(one["captions"]), np.concatenate(other["captions"])
        )


def test_the_result_does_not_depend_on_threads_or_tasks_but_on_the_encoder(
    prepared, plain, folder, here, monkeypatch, capsys
):
    assert prepared.hash != plain.hash
    monkeypatch.setattr(sentence_encoders, "_AT_ONCE", 3)
    again = _prepare(folder, "b", "--sentence_encoder=letters_of_a_test:encode", "--workers=5")
    assert open_dataset(again).hash == prepared.hash
    other = _prepare(folder, "c", "--sentence_encoder=letters_of_a_test:Group.named")
    assert open_dataset(other).hash != prepared.hash
    assert open_dataset(other).sentence_encoder == Identity("letters v2", 7, "0123456789abcdef")
    assert "sentences: letters v2 (7 numbers, weights 0123456789ab)" in capsys.readouterr().out


def test_tfds_reads_the_same(prepared):
    theirs = tfds.builder_from_directory(prepared.path).as_data_source(split="train")
    mine = prepared.source("train", sentences=True)
    for index, record in enumerate(theirs):
        np.testing.assert_array_equal(mine[index]["sentences"], record["sentences"])


def test_codes_are_encoded_as_words():
    seen = []

    def encode(texts):
        seen.extend(texts)
        return np.ones((len(texts), 2))

    words = Vocabulary((*SPECIAL_WORDS, "a", "dog"))
    encoder = SentenceEncoder(encode, "mine")
    conversion = Conversion(8, "squash", words, 5, sentence_encoder=encoder)
    codes = np.array([[1, 4, 5, 2, 0], [1, 2, 0, 0, 0], [1, 3, 5, 3, 2]])
    example = Example("k", np.zeros((8, 8, 3), np.uint8), codes)
    record = conversion.record(example).record
    assert conversion.sentences(record) == ["a dog", "dog"]
    assert len(record.captions) == 2


def _known_rows(dataset, split):
    """Embeddings by image and caption's codes; twins are not told apart."""
    batch = dataset.source(split, sentences=True).__getitems__(range(dataset.splits[split]))
    return {
        (image.tobytes(), tuple(codes)): sentence
        for image, rows, sentences in zip(
            batch["image"], batch["captions"], batch["sentences"], strict=True
        )
        for codes, sentence in zip(rows.tolist(), sentences, strict=True)
    }


def _assert_belongs(dataset, split, batch):
    known = _known_rows(dataset, split)
    assert batch["sentence"].dtype == np.float16
    for image, codes, sentence in zip(
        batch["image"], batch["codes"].tolist(), batch["sentence"], strict=True
    ):
        np.testing.assert_array_equal(sentence, known[image.tobytes(), tuple(codes)])


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_batch_has_the_embedding_of_the_caption_that_was_drawn(prepared, plain, cache):
    options = {"batch_size": 4, "seed": 3, "cache": cache}
    with (
        train_stream(prepared, **options, sentences=True) as stream,
        train_stream(plain, **options) as without,
        train_stream(prepared, **options, sentences=True, process_index=1, process_count=2) as half,
    ):
        batches = [next(stream) for _ in range(9)]
        for batch in batches:
            _assert_belongs(prepared, "train", batch)
            other, part = next(without), next(half)
            assert other.keys() == {"image", "codes"}
            for name, rows in other.items():
                np.testing.assert_array_equal(rows, batch[name])
            for name, rows in part.items():
                np.testing.assert_array_equal(rows, batch[name][2:])
        stream.seek(5)
        np.testing.assert_array_equal(next(stream)["sentence"], batches[5]["sentence"])


@pytest.mark.parametrize("captions", ["first", "drawn", "all"])
def test_evaluation_batches_have_them_too(prepared, captions):
    batches = eval_batches(prepared, "train", batch_size=3, captions=captions, sentences=True)
    for batch in batches:
        _assert_belongs(prepared, "train", batch)


def test_streams_of_a_data_set_without_embeddings_say_so(plain):
    for make in (train_stream, eval_batches):
        seed = {"seed": 0} if make is train_stream else {}
        with pytest.raises(UserError, match="has no sentence embeddings"):
            make(plain, "train", batch_size=2, sentences=True, **seed)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minlm", "--sentence_encoder=minlm: minilm, clip:FILE and t5:FILE are allowed, or module"),
        ("no_such_module:encode", "cannot be imported: ModuleNotFoundError"),
        ("letters_of_a_test:none", "cannot be imported: AttributeError"),
        ("letters_of_a_test:number", "is no callable"),
        ("letters_of_a_test:fails", "fails: RuntimeError: out of memory"),
        ("letters_of_a_test:flat", r"an array of shape \(1,\) for 1 sentences; \(1, E\)"),
        ("letters_of_a_test:infinite", "not finite or above 65,504"),
        ("letters_of_a_test:large", "not finite or above 65,504"),
    ],
)
def test_an_encoder_that_does_not_encode_is_one_line(here, name, told, tmp_path):
    with pytest.raises(UserError, match=told) as raised:
        open_encoder(name)
    assert "\n" not in str(raised.value)


def test_later_answers_are_judged_too(here):
    with pytest.raises(UserError, match=r"shape \(1, 3\) for 2 sentences"):
        open_encoder("letters_of_a_test:short")(["a", "b"])
    with pytest.raises(UserError, match="gives 4 numbers for some"):
        open_encoder("letters_of_a_test:changing")(["b"])


def test_an_unknown_encoder_leaves_nothing_behind(tmp_path, capsys):
    flags = ["--source=shapes", "--num_examples=20", f"--out={tmp_path / 'x'}"]
    assert cli.main(["prepare", *flags, "--sentence_encoder=minlm"]) == 2
    assert "clip:FILE and t5:FILE are allowed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_gets_the_encoder_that_it_learned_from_and_no_other(here):
    named = Identity("letters v2", 7, "0123456789abcdef")
    assert open_known(named, "letters_of_a_test:Group.named").identity == named
    with pytest.raises(
        UserError, match=r"by letters v2 .* is not built in: add --sentence_encoder"
    ):
        open_known(named)
    with pytest.raises(UserError, match=r"by letters v2 .*, and this encoder is letters_of"):
        open_known(named, "letters_of_a_test:encode")
    with pytest.raises(UserError, match=r"weights fedcba.* this encoder is letters v2 .*012345"):
        open_known(Identity("letters v2", 7, "fedcba"), "letters_of_a_test:Group.named")
    found = open_known(Identity("whatever", 2), lambda texts: np.ones((len(texts), 2)))
    assert found(["a"]).tolist() == [[1, 1]]
    with pytest.raises(UserError, match=r"this encoder is whatever .3 numbers"):
        open_known(Identity("whatever", 2), lambda texts: np.ones((len(texts), 3)))


@pytest.mark.parametrize(
    "fields",
    [7, [], {}, {"name": "a", "dim": 3}, *(
        {"name": "a", "dim": 3, "sha256": "", **wrong}
        for wrong in ({"name": ""}, {"name": 3}, {"dim": 0}, {"dim": True}, {"dim": "3"},
                      {"dim": 10**9}, {"sha256": None}, {"sha256": "f" * 201})
    )],
)  # fmt: skip
def test_a_damaged_identity_is_refused(fields, prepared, tmp_path):
    with pytest.raises(ValueError, match=r"expected|must be"):
        Identity.from_json(fields)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in prepared.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    report = json.loads((copy / "report.json").read_text()) | {"sentence_encoder": fields}
    (copy / "report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match=r"report\.json: sentence_encoder: .*prepare the data set"):
        open_dataset(copy)


def test_embeddings_of_another_width_than_is_said_are_refused(prepared, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in prepared.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    report = json.loads((copy / "report.json").read_text())
    report["sentence_encoder"]["dim"] = 6
    (copy / "report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match=r"is damaged or unreadable .*not a record of"):
        open_dataset(copy).source("train", sentences=True)
