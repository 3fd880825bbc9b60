"""Recipes by name: the files beside this one, and modules of other packages."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import Any

from ml_collections import ConfigDict

import t2igan.recipes
from input_pipeline.errors import UserError
from t2igan.config.aliases import RECIPES
from t2igan.losses.augmentation import parse_policy
from t2igan.models.stackgan import resolution_steps
from t2igan.models.text import STAGE1
from t2igan.recipes.base import Recipe


def names() -> list[str]:
    """Returns the names of all recipes: the files beside this one."""
    found = pkgutil.iter_modules(t2igan.recipes.__path__)
    return sorted(module.name for module in found if module.name not in ("base", "registry"))


def build(config: Any, image_size: int, stage1: Recipe | None = None) -> Recipe:
    """Returns the recipe that `config.recipe` names, for images of `image_size` pixels.

    Args:
      config: of the experiment.
      image_size: pixels.
      stage1: recipe of the finished run that this one builds on, or None.

    Raises:
      UserError: there is no such recipe, it cannot make images of that size, or it builds on a
        run and is given none, or the other way round.
    """
    known = names()
    name = RECIPES.get(config.recipe, config.recipe)
    if name not in known:
        near = difflib.get_close_matches(config.recipe, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise UserError(f"config.recipe={config.recipe!r}: no such recipe; {hint}")
    module = importlib.import_module(f"t2igan.recipes.{name}")
    try:
        parse_policy(config.augment.policy)
        resolution_steps(image_size)
        if stage1 is None:
            return module.build(config, image_size)
        if not hasattr(module, "build_on"):
            raise ValueError("builds on no other run: leave config.stage1 empty")
        return module.build_on(stage1, config, image_size)
    except ValueError as error:
        raise UserError(f"config.recipe={config.recipe!r}: {error}") from error


def recipe_of(description: dict[str, Any]) -> Recipe:
    """Returns the recipe of a run, its first stage's within it, from a checkpoint's `meta`."""
    first = description.get(STAGE1)
    stage1 = recipe_of(first) if first else None
    return build(ConfigDict(description["config"]), description["image_size"], stage1)
