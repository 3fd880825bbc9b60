"""Fields that are set without effect are named; no shipped config has any."""

from __future__ import annotations

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import common, flowers, photographs, quickstart
from t2igan.config import override
from t2igan.config.unused import unused
from t2igan.recipes import registry
from t2igan.training.estimates.dry_run import dry_run

FOLDER = Path(common.__file__).parent
NAMES = sorted(path.name for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "common"))
SECOND_STAGES = {
    "flowers.py:128": flowers.get_config,
    "shapes_128.py": quickstart.get_config,
    "stage2.py": common.get_config,
}


def found(config: ConfigDict, size: int = 64) -> dict[str, str]:
    return unused(config, lambda own: registry.build(own, size))


@pytest.mark.parametrize("name", [*NAMES, "flowers.py:128"])
def test_no_shipped_config_sets_a_field_without_effect(name: str) -> None:
    config = override.load([f"--config=configs/{name}"])
    if name not in SECOND_STAGES:
        assert found(config) == {}
        return
    first = registry.build(SECOND_STAGES[name](), 64)
    assert unused(config, lambda own: registry.build(own, 128, first)) == {}


@pytest.mark.parametrize(
    ("recipe", "changes", "expected"),
    [
        ("stackgan", {"loss.contrastive_weight": 0.2}, ["loss.contrastive_weight"]),
        ("stackgan", {"loss.kl_weight": 1.0, "loss.r1_weight": 2.0}, []),
        (
            "dfgan",
            {"loss.kl_weight": 1.0, "model.refine": True},
            ["model.refine", "loss.kl_weight"],
        ),
        ("r3gan", {"model.text_compressor_dim": 8}, ["model.text_compressor_dim"]),
        ("r3gan", {"loss.penalty_interval": 4, "loss.r1_weight": 1.0, "train.steps": 3}, []),
        ("dfgan", {"loss.penalty_interval": 4}, []),
        ("r3gan", {"loss.penalty_form": "difference"}, ["loss.penalty_form"]),
        ("stackgan", {"optimizer.decay_start": 0.5}, ["optimizer.decay_start"]),
        ("stackgan", {"optimizer.decay_start": 0.5, "optimizer.schedule": "linear"}, []),
        ("contrastive", {"loss.diversity_every_caption": True}, ["loss.diversity_every_caption"]),
    ],
)
def test_what_has_no_effect(recipe: str, changes: dict[str, object], expected: list[str]) -> None:
    config = common.get_config()
    config.recipe = recipe
    config.update_from_flattened_dict(changes)
    assert sorted(found(config)) == sorted(expected)


def test_another_recipe_than_the_configs_own() -> None:
    config = photographs.get_config()
    config.recipe = "stackgan"
    assert {"model.text_encoder", "loss.contrastive_weight"} <= set(found(config))


def test_a_dry_run_names_them(word_dataset: Path) -> None:
    flags = ["--config.loss.contrastive_weight=0.5", "--config.train.batch_size=8"]
    flags += ["--config=configs/tiny.py", f"--config.data.dir={word_dataset}"]
    said = dry_run(override.load(flags))
    assert "without effect: loss.contrastive_weight (stackgan does not read it)" in said


def test_what_a_field_needs_is_a_field() -> None:
    for name, field in common.FIELDS.items():
        assert set(field.needs) <= set(common.FIELDS) - {name}
