"""This project's own step and sampling. Settings: dtype, form ("" chooses; "plain" as reference),
devices, and the sizes that problem.py lets differ from the report's.

Its weights and batch are made by the code that wrote the problem, from the same seed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import problem as problems

from t2igan.images import to_unit_range
from t2igan.models.conv import dispatch as fast_forms
from t2igan.runtime import device, sharding
from t2igan.sampling.sampler import Sampler
from t2igan.training import compile as compiled

VERSIONS = {"jax": jax.__version__, "flax": flax.__version__}


class Competitor:
    """What child.py drives."""

    def __init__(self, problem: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        config = problems.make_config(**settings.get("config", {}))
        self.recipe, optimizers = problems.make_recipe(config, settings.get("image_size", 64))
        self.mesh = device.data_mesh(jax.devices()[: settings.get("devices", 1)])
        self.state = sharding.replicate(
            problems.make_state(config, self.recipe, optimizers), self.mesh
        )
        self.variables = jax.tree.map(jnp.copy, self.state.g_variables)  # the step donates its own
        batch = {name: problem[name] for name in ("image", "codes")}
        self.batch = device.put(batch, self.mesh)
        self.noise = {name: problem[name] for name in problem if name in self.recipe.noise_dims}
        self.form = settings.get("form") or None
        self.train = compiled.make_train_step(self.recipe, optimizers, config, self.mesh)
        self.sampler = Sampler(self.recipe, len(batch["codes"]), list(self.mesh.devices.flat))
        self.codes, self.indices = batch["codes"], np.arange(len(batch["codes"]))
        self.calls, self.last = 0, None

    def _forms(self) -> Any:
        return fast_forms.only(self.form) if self.form else contextlib.nullcontext()

    def check_sample(self) -> dict[str, np.ndarray]:
        """Returns the images of the problem's noise."""

        def images(variables: Any, text: Any, noise: Any) -> jax.Array:
            return self.recipe.generator.apply(variables, text, noise, train=False)["image"]

        with self._forms():
            sample = jax.jit(images)(self.variables, {"codes": self.batch["codes"]}, self.noise)
        return {"sample": np.asarray(sample)}

    def check_train(self) -> dict[str, np.ndarray]:
        """Losses, gradients' norms, fakes and logits of the first step."""
        variables, text = self.state.g_variables, {"codes": self.batch["codes"]}
        d_variables = jax.tree.map(jnp.copy, self.state.d_variables)
        with self._forms():
            fake = jax.jit(self._fake)(variables, text)
            logits = jax.jit(self._logits)(d_variables, fake, self.batch)
            self.state, metrics = self.train(self.state, self.batch)
        names = ("loss/d", "loss/g", "grad_norm/d", "grad_norm/g")
        out = {"fake": fake} | logits | {name: metrics[name] for name in names}
        return {name: np.asarray(value, np.float32) for name, value in out.items()}

    def _fake(self, variables: Any, text: Any) -> jax.Array:
        apply = self.recipe.generator.clone(axis_name=None).apply
        return apply(variables, text, self.noise, train=True, mutable=["batch_stats"])[0]["image"]

    def _logits(self, variables: Any, fake: jax.Array, batch: Any) -> dict[str, jax.Array]:
        network = self.recipe.discriminator.clone(axis_name=None)
        image, text = to_unit_range(batch["image"]), {"codes": batch["codes"]}
        pairs = {
            "real": (image, text),
            "wrong": (image, {"codes": jnp.roll(batch["codes"], 1, axis=0)}),
            "fake": (fake, text),
        }
        return {
            f"logits/{name}": network.apply(variables, *pair, train=True, mutable=["batch_stats"])[
                0
            ]
            for name, pair in pairs.items()
        }

    def step(self) -> None:
        """One training step."""
        with self._forms():
            self.state, self.last = self.train(self.state, self.batch)

    def sample(self) -> None:
        """One batch of images, other noise each time."""
        self.calls += 1
        key = jax.random.key(self.calls)
        text = {"codes": self.codes}
        with self._forms():
            self.last = self.sampler.sample(self.variables, text, self.indices, key)

    def wait(self) -> None:
        """Returns when all is computed."""
        jax.block_until_ready((self.last, self.state))

    def device_memory(self) -> int | None:
        """Peak bytes on the accelerator, None on CPU."""
        statistics = jax.devices()[0].memory_stats()
        return statistics and statistics.get("peak_bytes_in_use")
