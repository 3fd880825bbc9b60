"""Recipes by name: the files beside this one, and modules of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import t2igan.recipes
from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.extensions import import_extension, is_extension
from t2igan.config.aliases import RECIPES
from t2igan.losses.augmentation import parse_policy
from t2igan.models.stackgan import resolution_steps
from t2igan.recipes.base import Recipe

_NOT_RECIPES = ("base", "registry", "second_stage")


def names() -> list[str]:
    """Returns the names of the recipes that ship with the package: the files beside this one."""
    modules = pkgutil.iter_modules(t2igan.recipes.__path__)
    return sorted(module.name for module in modules if module.name not in _NOT_RECIPES)


def build(config: Any, image_size: int, stage1: Recipe | None = None) -> Recipe:
    """Returns the recipe that `config.recipe` names, for images of `image_size` pixels.

    Args:
      config: of the experiment; its recipe is one of `names()`, or the dotted name of a module
        with `build(config, image_size) -> Recipe`.
      image_size: pixels.
      stage1: recipe of the finished run that this one builds on, or None.

    Raises:
      UserError: there is no such recipe, it cannot make images of that size, or it builds on a
        run and is given none, or the other way round.
    """
    module = find(config.recipe)
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


def find(recipe: str) -> ModuleType:
    """Returns the module of a recipe.

    Raises:
      UserError: there is none of that name.
    """
    known = names()
    name = RECIPES.get(recipe, recipe)
    if name in known:
        return importlib.import_module(f"t2igan.recipes.{name}")
    if is_extension(name):
        return import_extension(name, "build", f"config.recipe={recipe!r}")
    hint = did_you_mean(recipe, known)
    raise UserError(
        f"config.recipe={recipe!r}: no such recipe{hint}; there are {', '.join(known)}, and "
        "modules of your own by their dotted name"
    )
