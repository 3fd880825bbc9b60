"""Imports go only down: the house of DESIGN.md, read from the source with ast.

losses, images, input_pipeline < models, metrics < recipes < training < verbs < cli, scripts
"""

from __future__ import annotations

import ast
import graphlib
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("input_pipeline", "t2igan", "configs")

# The longest name that a module starts with says its floor.
FLOORS = {
    "input_pipeline": 0,
    "t2igan.augment": 0,
    "t2igan.fixed_batches": 0,
    "t2igan.gradient_penalties": 0,
    "t2igan.imagenet": 0,
    "t2igan.images": 0,
    "t2igan.losses": 0,
    "t2igan.models": 1,
    "t2igan.metrics": 1,
    "t2igan.config": 2,
    "t2igan.config_files": 2,
    "t2igan.recipes": 2,
    "t2igan.training": 3,
    "t2igan": 4,
    "t2igan.cli": 5,
    "t2igan.huge_pages": 5,
    "t2igan.__main__": 6,
}


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    _module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def floor(module: str) -> int:
    """The floor of a module of ours."""
    names = list(itertools.accumulate(module.split("."), lambda left, right: f"{left}.{right}"))
    return FLOORS[[name for name in names if name in FLOORS][-1]]


def imported(path: Path, *, only_at_start: bool = False) -> set[str]:
    """Modules that a file imports: anywhere in it, or only what its own import needs.

    `from package import name` counts as `package.name` where that is a module of ours. Imports
    for type checkers alone count too, except where `only_at_start`.
    """
    tree = ast.parse(path.read_text())
    nodes = _at_start(tree) if only_at_start else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else str(node.module) for name in full}
    return names


def _at_start(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _under(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


T2IGAN = [name for name in MODULES if _under(name, "t2igan")]
INPUT = [name for name in MODULES if _under(name, "input_pipeline")]
CONFIGS = [name for name in MODULES if _under(name, "configs")]


@pytest.mark.parametrize("module", T2IGAN)
def test_nothing_imports_what_stands_above_it(module: str) -> None:
    # The package itself is not above: `from t2igan import __version__` is a name, not a floor.
    for name in _ours(imported(MODULES[module])) - {"t2igan"}:
        assert not _under(name, "configs"), f"{module} imports the experiment {name}"
        assert floor(name) <= floor(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("module", T2IGAN)
def test_models_and_metrics_do_not_know_each_other(module: str) -> None:
    for one, other in (("models", "metrics"), ("metrics", "models")):
        if _under(module, f"t2igan.{one}"):
            names = imported(MODULES[module])
            assert not [name for name in names if _under(name, f"t2igan.{other}")]


@pytest.mark.parametrize("module", [name for name in T2IGAN if _under(name, "t2igan.training")])
def test_training_knows_the_protocol_and_no_recipe(module: str) -> None:
    recipes = {name for name in imported(MODULES[module]) if _under(name, "t2igan.recipes")}
    assert recipes <= {"t2igan.recipes", "t2igan.recipes.base"}


@pytest.mark.parametrize("module", INPUT)
def test_input_pipeline_stands_alone(module: str) -> None:
    names = imported(MODULES[module])
    assert not [name for name in names if _under(name, "t2igan", "configs")]
    if module != "input_pipeline.device":
        assert not [name for name in names if _under(name, "jax", "jaxlib", "flax", "optax")]


def test_only_checkpoints_import_orbax() -> None:
    importers = [
        name
        for name, path in MODULES.items()
        if any(_under(found, "orbax") for found in imported(path))
    ]
    assert set(importers) <= {"t2igan.training.checkpoints"}


@pytest.mark.parametrize("module", CONFIGS)
def test_configs_import_only_ml_collections_and_common(module: str) -> None:
    assert imported(MODULES[module]) <= {"ml_collections", "configs.common"}


@pytest.mark.parametrize("module", list(MODULES))
def test_no_code_from_tensorflow_or_torch_in_the_product(module: str) -> None:
    banned = ("tensorflow", "torch", "clu", "pickle")
    assert not [name for name in imported(MODULES[module]) if _under(name, *banned)]


def test_imports_at_start_form_no_circle() -> None:
    graph = {
        name: _ours(imported(path, only_at_start=True)) & MODULES.keys()
        for name, path in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
