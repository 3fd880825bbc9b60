"""The public Python: names, types, docstrings, paths as text."""

from __future__ import annotations

import inspect
import pydoc

import pytest

import t2igan
from configs import common
from input_pipeline.errors import UserError


@pytest.mark.parametrize("name", t2igan.__all__)
def test_every_public_name_is_typed_and_explained(name: str) -> None:
    value = getattr(t2igan, name)
    assert value.__doc__
    assert name in pydoc.render_doc(t2igan)
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty
        if signature.parameters:
            assert "Args:" in value.__doc__
            assert "Raises:" in value.__doc__


def test_a_run_says_what_it_is_in_one_line() -> None:
    text = repr(t2igan.load_pretrained("shapes"))
    assert "\n" not in text
    assert len(text) < 160
    assert "contrastive, 64x64 pixels" in text


def test_recipes_are_the_files_of_the_folder() -> None:
    assert "stackgan" in t2igan.list_recipes()
    assert not {"base", "registry", "second_stage"} & set(t2igan.list_recipes())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: t2igan.prepare("shapes", out="x", num_exmples=3), "did you mean num_examples"),
        (lambda: t2igan.prepare("shape", out="x"), "did you mean shapes"),
        (lambda: t2igan.train("configs/none.py", "run"), "no config file configs/none.py"),
        (lambda: t2igan.train(common.get_config(), "run"), "no data set given"),
        (
            lambda: t2igan.train("configs/tiny.py", "run", {"train.bach_size": 4}),
            "did you mean config.train.batch_size",
        ),
        (lambda: t2igan.evaluate("none", metrics="frechett"), "did you mean frechet"),
        (lambda: t2igan.evaluate("none", metric="frechet"), "unexpected keyword argument 'metric'"),
        (lambda: t2igan.load("none"), "not a run's folder"),
    ],
)
def test_mistakes_are_one_line(call, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
