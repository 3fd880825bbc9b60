"""Config files and overrides: ml_collections' meaning, with a lesson in every complaint."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from input_pipeline.errors import UserError
from t2igan.config import compare, override, record

FILE = """
from ml_collections import ConfigDict

def get_config(arg="plain"):
    config = ConfigDict()
    config.arg = arg
    config.train = ConfigDict()
    config.train.batch_size = 8
    config.train.rate = 0.5
    config.train.sizes = (1, 2)
    config.flip = False
    return config
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ([], "train.batch_size", 8),
        (["--config.train.batch_size=16"], "train.batch_size", 16),
        (["--config.train.batch_size=16", "--config.train.batch_size=4"], "train.batch_size", 4),
        (["--config.train.rate=1"], "train.rate", 1.0),
        (["--config.train.rate=1e-3"], "train.rate", 1e-3),
        (["--config.train.sizes=(3, 4, 5)"], "train.sizes", [3, 4, 5]),
        (["--config.flip"], "flip", True),
        (["--config.flip=true"], "flip", True),
        (["--config.flip=true", "--noconfig.flip"], "flip", False),
        (["--config.arg=a=b c,d"], "arg", "a=b c,d"),
        (["--config.arg="], "arg", ""),
    ],
)
def test_overrides_mean_what_ml_collections_means(
    file: Path, words: list[str], field: str, value: object
) -> None:
    loaded = record.fields(override.load([f"--config={file}", *words]))[field]
    assert loaded == value
    assert type(loaded) is type(value)


def test_argument_reaches_get_config(file: Path) -> None:
    assert override.load([f"--config={file}"]).arg == "plain"
    assert override.load([f"--config={file}:a:b"]).arg == "a:b"


def test_loaded_config_is_locked(file: Path) -> None:
    with pytest.raises(AttributeError):
        override.load([f"--config={file}"]).train.batch_sise = 3


@pytest.mark.parametrize(
    ("word", "lesson"),
    [
        ("--config.train.batch_sise=16", "did you mean config.train.batch_size?"),
        ("--config.batch_size=16", "did you mean config.train.batch_size?"),
        ("--config.trian.rate=16", "did you mean config.train.rate?"),
        ("--config.qqq=16", "no field config.qqq"),
        ("--config.train=16", "is a group: set one of train.batch_size"),
        ("--config.train.batch_size=many", "takes a whole number, such as 8, not 'many'"),
        ("--config.train.batch_size=1.5", "takes a whole number, such as 8, not '1.5'"),
        ("--config.train.batch_size", "takes a whole number"),
        ("--config.train.rate=fast", "takes a number, such as 0.5"),
        ("--config.flip=perhaps", "takes true or false"),
        ("--config.=1", "no field"),
        ("--config.train.[0]=1", "no field"),
    ],
)
def test_a_wrong_override_teaches(file: Path, word: str, lesson: str) -> None:
    with pytest.raises(UserError) as caught:
        override.load([f"--config={file}", word])
    assert lesson in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_override_is_taken_or_refused(name: str, value: str) -> None:
    base = ConfigDict({"train": {"size": 1, "rate": 0.5, "words": ("a",)}, "flip": True, "arg": ""})
    for field in (name, "train.size", "train.rate", "train.words", "flip", "arg"):
        with contextlib.suppress(UserError):
            override.override(base, [f"--config.{field}={value}"])


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        (None, "no config file"),
        ("def get_config(:", "line 1"),
        ("x = 1\0", "wrong.py: source code"),
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
        ("x = 1", "no function get_config()"),
        ("def get_config():\n  return {}", "returned dict"),
        ("def get_config():\n  return 1 / 0", "line 2: ZeroDivisionError"),
    ],
)
def test_a_wrong_file_teaches(tmp_path: Path, text: str | None, lesson: str) -> None:
    path = tmp_path / "wrong.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=lesson.replace("(", r"\(").replace(")", r"\)")):
        override.load([f"--config={path}"])


def test_a_misspelt_file_gets_the_near_name(file: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean .*experiment\.py"):
        override.load([f"--config={file.parent / 'experimet.py'}"])
    with pytest.raises(UserError, match=r"did you mean configs/coco_stage1\.py"):
        override.load(["--config=configs/coco_stage_1.py"])


def test_shipped_configs_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert override.load(["--config=configs/tiny.py"]).train.steps == 60


def test_no_file_takes_the_runs_own_config_or_says_so(file: Path) -> None:
    own = override.load([f"--config={file}"])
    assert override.load(["--config.train.rate=2"], default=own).train.rate == 2.0
    assert own.train.rate == 0.5
    with pytest.raises(UserError, match="no experiment given"):
        override.load([])


def test_json_round_trip(file: Path) -> None:
    config = override.load([f"--config={file}"])
    assert json.loads(record.to_json(config))["train"]["batch_size"] == 8
    again = record.from_json(record.to_json(config))
    assert compare.differences(config, again) == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "\x00", '{"a": 1', '{"a.b": 1}', '{"__class__": {}}', "[" * 100_000]
)
def test_damaged_json_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"RUN/config\.json is damaged"):
        record.from_json(text, origin="RUN/config.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(data=st.binary() | st.dictionaries(st.text(), JSON).map(lambda d: json.dumps(d).encode()))
def test_any_bytes_are_a_config_or_named_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    try:
        config = record.read(path)
    except UserError as error:
        assert "config.json is damaged" in str(error)  # noqa: PT017 - a config is right too
    else:
        record.fields(config)


def test_differences_are_found_by_name(file: Path) -> None:
    old = override.load([f"--config={file}"])
    new = override.load([f"--config={file}", "--config.train.rate=2"]).unlock()
    new.extra = 1
    assert compare.differences(old, new) == {
        "train.rate": (0.5, 2.0),
        "extra": (compare.ABSENT, 1),
    }


def test_a_run_goes_on_under_its_own_config_only() -> None:
    old = override.load(["--config=configs/tiny.py"])
    longer = override.load(["--config=configs/tiny.py", "--config.train.steps=90"])
    compare.check_resumes(old, longer, "RUN")
    other = override.load(["--config=configs/tiny.py", "--config.seed=1"])
    with pytest.raises(UserError, match="another config: seed is 0 there, 1 here"):
        compare.check_resumes(old, other, "RUN")


def test_a_run_of_before_there_was_a_field_goes_on_at_its_default() -> None:
    new = override.load(["--config=configs/tiny.py"])
    old = new.copy_and_resolve_references().unlock()
    del old.optimizer["decay_start"]
    compare.check_resumes(old, new, "RUN")
    assert compare.differences(old, new) == {"optimizer.decay_start": (compare.ABSENT, 0.0)}
    held = override.load(["--config=configs/tiny.py", "--config.optimizer.decay_start=0.5"])
    with pytest.raises(UserError, match=r"decay_start is '\(absent\)' there, 0.5 here"):
        compare.check_resumes(old, held, "RUN")
    del new.unlock().optimizer["decay_start"]  # a field that is no more is one that differs
    with pytest.raises(UserError, match="decay_start"):
        compare.check_resumes(held, new, "RUN")
