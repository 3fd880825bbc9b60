"""The layers of the house and who may import whom, read from the source with ast."""

from __future__ import annotations

import ast
import graphlib
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("input_pipeline", "t2igan", "configs")
MOST_FILES = 13  # in one folder, its __init__ included
# Where a kind of thing is one file each, found by its name: as many as there are things.
ONE_FILE_EACH = ("t2igan/metrics",)

# From the bottom up; a module imports from its own layer and from those before it. A module that
# is not named itself stands in its package's layer.
LAYERS = (
    "input_pipeline",
    "t2igan.images",
    "t2igan.runtime",
    "t2igan.config",
    "t2igan.losses",
    "t2igan.backbones",
    "t2igan.models",
    "t2igan.metrics",
    "t2igan.recipes",
    "t2igan.beam",
    "t2igan.workdir",
    "t2igan.sampling",
    "t2igan.evaluation",
    "t2igan.report",
    "t2igan.export",
    "t2igan.serving",
    "t2igan.training",
    "t2igan.sweep",
    "t2igan",  # the public Python
    "t2igan.cli",
    "t2igan.__main__",
)
# And the input pipeline's own.
INPUT_LAYERS = (
    "",
    "text",
    "images",
    "readers",
    "dataset",
    "sources",
    "stream",
    "download",
    "prepare",
)


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    _module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def layer(module: str) -> int:
    """The layer of a module of ours."""
    names = list(itertools.accumulate(module.split("."), lambda left, right: f"{left}.{right}"))
    return LAYERS.index([name for name in names if name in LAYERS][-1])


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
METRICS = [
    name
    for name, path in MODULES.items()
    if name.startswith("t2igan.metrics.") and path.parent.name == "metrics" and name.count(".") == 2
]


@pytest.mark.parametrize("module", T2IGAN)
def test_nothing_imports_what_stands_above_it(module: str) -> None:
    # `from t2igan import __version__` is a name, not a layer.
    for name in _ours(imported(MODULES[module])) - {"t2igan"}:
        assert not _under(name, "configs"), f"{module} imports the experiment {name}"
        assert layer(name) <= layer(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("module", INPUT)
def test_the_input_pipeline_stands_alone_and_goes_down(module: str) -> None:
    names = imported(MODULES[module])
    assert not [name for name in names if _under(name, "t2igan", "configs")]
    assert not [name for name in names if _under(name, "jax", "jaxlib", "flax", "optax")]

    def floor(name: str) -> int:
        parts = name.split(".")
        package = parts[1] if len(parts) > 1 and parts[1] in INPUT_LAYERS else ""
        return INPUT_LAYERS.index(package)

    for name in _ours(names) - {"input_pipeline"}:
        assert floor(name) <= floor(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("module", T2IGAN)
def test_models_and_metrics_do_not_know_each_other(module: str) -> None:
    for one, other in (("models", "metrics"), ("metrics", "models")):
        if _under(module, f"t2igan.{one}"):
            names = imported(MODULES[module])
            assert not [name for name in names if _under(name, f"t2igan.{other}")]


@pytest.mark.parametrize("module", METRICS)
def test_a_metric_imports_no_other_metric(module: str) -> None:
    assert not imported(MODULES[module]) & set(METRICS)


@pytest.mark.parametrize("module", [name for name in T2IGAN if _under(name, "t2igan.training")])
def test_training_knows_the_protocol_and_no_recipe(module: str) -> None:
    recipes = {name for name in imported(MODULES[module]) if _under(name, "t2igan.recipes")}
    assert recipes <= {"t2igan.recipes.base", "t2igan.recipes.registry"}


def test_only_checkpoints_import_orbax() -> None:
    importers = [
        name
        for name, path in MODULES.items()
        if any(_under(imported_name, "orbax") for imported_name in imported(path))
    ]
    assert set(importers) <= {"t2igan.workdir.checkpoints"}


@pytest.mark.parametrize("module", CONFIGS)
def test_configs_import_only_ml_collections_and_common(module: str) -> None:
    allowed = {"ml_collections", "configs.common", "dataclasses", "typing"}
    assert imported(MODULES[module]) <= allowed


@pytest.mark.parametrize("module", list(MODULES))
def test_no_code_from_tensorflow_or_torch_in_the_product(module: str) -> None:
    banned = ("tensorflow", "torch", "clu")
    assert not [name for name in imported(MODULES[module]) if _under(name, *banned)]


def test_only_pinned_weights_are_unpickled() -> None:
    importers = [name for name, path in MODULES.items() if "pickle" in imported(path)]
    assert importers == ["t2igan.backbones.torch_checkpoint"]


def test_imports_at_start_form_no_circle() -> None:
    graph = {
        name: _ours(imported(path, only_at_start=True)) & MODULES.keys()
        for name, path in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_packages_form_no_circle_wherever_the_import_stands() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if not _under(name, "t2igan") or name.count(".") < 2:
            continue
        package = ".".join(name.split(".")[:2])
        used = {".".join(other.split(".")[:2]) for other in _ours(imported(path))}
        graph.setdefault(package, set()).update(used - {package, "t2igan"})
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}))
def test_no_folder_is_crowded(folder: Path) -> None:
    if folder.relative_to(ROOT).as_posix() in ONE_FILE_EACH:
        return
    files = [path.name for path in folder.glob("*.py")]
    assert len(files) <= MOST_FILES + 1, f"{folder}: {len(files)} files; make room for a subfolder"
