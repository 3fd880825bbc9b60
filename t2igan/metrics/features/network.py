"""ImageSet -> feature rows on every local device; what a feature network says about itself."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from input_pipeline.errors import UserError
from input_pipeline.images.decode import resize
from t2igan.backbones import clip, dinov2, inception_weights, lite_weights
from t2igan.backbones.weight_files import WeightFile

OWN_WEIGHTS = (  # of files that the user has
    "dinov2_vits14",
    "dinov2_vitb14",
    "dinov2_vitl14",
    "clip_vitb32",
    "clip_vitb16",
    "clip_vitl14",
    "clip_vitl14_336",
)
NETWORKS = ("lite0", "inception", *OWN_WEIGHTS)
BATCH = 64
# Images that go through a network together on a CPU: more, and the first layers' maps no longer
# fit its caches.
CPU_ROWS = 2


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A network that turns uint8 images into rows of numbers.

    Attributes:
      name: as results are named after it, e.g. `lite0`.
      dim: width of a row.
      params: arrays that `apply` takes first.
      apply: (params, uint8 [B, H, W, 3]) -> [B, dim], traceable by JAX.
      classify: (params, [B, dim]) -> [B, classes] logits in numpy, or None.
      provenance: hash of the weights, resize: what its numbers depend on.
      resize: S where `apply` takes [B, S, S, 3] alone: Pillow's bicubic filter makes them; 0 where
        it takes any size.
      texts: captions -> [n, dim] in the same space, or None.
    """

    name: str
    dim: int
    params: Any
    apply: Callable[[Any, jax.Array], jax.Array]
    classify: Callable[[Any, np.ndarray], np.ndarray] | None
    provenance: dict[str, Any]
    resize: int = 0
    texts: Callable[[list[str]], np.ndarray] | None = None

    def rows(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields float32 [B, dim] features of each uint8 [B, H, W, 3] batch; the last may be short.

        The next batch is sent to the devices before the last one is waited for.
        """
        step, mesh = _compiled(self)
        waiting: tuple[jax.Array, int] | None = None
        for batch in images:
            for start in range(0, len(batch), BATCH):
                part = _resized(batch[start : start + BATCH], self.resize)
                sent = step(_padded(part, mesh.size)), len(part)
                if waiting is not None:
                    yield np.asarray(waiting[0])[: waiting[1]]
                waiting = sent
        if waiting is not None:
            yield np.asarray(waiting[0])[: waiting[1]]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [N, dim] features of uint8 [N, H, W, 3] images."""
        rows = list(self.rows([images]))
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns [N, classes] logits of [N, dim] features.

        Raises:
          UserError: the network has no classes.
        """
        if self.classify is None:
            raise UserError(f"the network {self.name} has no classes: choose one of {NETWORKS}")
        return self.classify(self.params, features)


_steps: dict[int, tuple[FeatureNetwork, tuple[Callable[[np.ndarray], jax.Array], Mesh]]] = {}


def _compiled(network: FeatureNetwork) -> tuple[Callable[[np.ndarray], jax.Array], Mesh]:
    """The jitted network with its parameters on the devices, made once."""
    known = _steps.get(id(network))
    if known is None or known[0] is not network:
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        whole, rows = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in ((), ("data",)))
        params = jax.device_put(network.params, whole)
        apply = jax.jit(
            jax.shard_map(
                _in_rows(network.apply, CPU_ROWS) if _on_cpu(mesh) else network.apply,
                mesh=mesh,
                in_specs=(whole.spec, rows.spec),
                out_specs=rows.spec,
            )
        )
        known = _steps[id(network)] = network, (lambda images: apply(params, images), mesh)
    return known[1]


def _on_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def _in_rows(apply: Callable[..., jax.Array], count: int) -> Callable[..., jax.Array]:
    """The same function, on so many images after one another."""

    def in_rows(params: Any, images: jax.Array) -> jax.Array:
        if len(images) % count:
            return apply(params, images)
        parts = images.reshape(-1, count, *images.shape[1:])
        return jax.lax.map(lambda part: apply(params, part), parts).reshape(len(images), -1)

    return in_rows


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    if not size or images.shape[1:3] == (size, size):
        return images
    return np.stack([resize(image, size) for image in images])


def _padded(images: np.ndarray, devices: int) -> np.ndarray:
    """The batch with its last image repeated up to one of few sizes, so that few are compiled."""
    size = devices
    while size < min(len(images), BATCH):
        size *= 2
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images


def load(name: str, weights: str | Path | None = None) -> FeatureNetwork:
    """Returns a feature network by name.

    Args:
      name: one of `NETWORKS`.
      weights: its file, where it is not at the usual place.

    Raises:
      UserError: an unknown name, or weights that are missing, damaged or others than said.
    """
    require(name, weights)
    if name not in OWN_WEIGHTS:
        return importlib.import_module(f"t2igan.metrics.features.{name}").load(weights)
    family = name.partition("_")[0]
    return importlib.import_module(f"t2igan.metrics.features.{family}").load(name, weights)


def require(name: str, weights: str | Path | None = None) -> None:
    """Checks what can be known of a network before it is read.

    Args:
      name: one of `NETWORKS`.
      weights: its file, where it is not at the usual place.

    Raises:
      UserError: there is no such network, or its weights are not there.
    """
    if name not in NETWORKS:
        raise UserError(f"no feature network is called {name!r}: choose of {', '.join(NETWORKS)}")
    if name == "inception":
        inception_weights.find(weights)
    elif name == "lite0" and not weights:
        lite_weights.find(lite_weights.LITE0)
    elif name in OWN_WEIGHTS and not weights:
        raise UserError(
            f"the network {name} needs its weights: --weights=FILE, or config.evaluate.weights "
            f"beside training, a model.safetensors of {_PUBLISHED[name.partition('_')[0]]}"
        )


_PUBLISHED = {
    "dinov2": "facebook/dinov2-small, -base or -large",
    "clip": "openai/clip-vit-base-patch32, -base-patch16, -large-patch14 or -large-patch14-336",
}


def listed(text: str | None) -> list[str]:
    """Returns the files of a comma-separated list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def identified(files: Iterable[str | Path]) -> dict[str, str | Path]:
    """Returns which network each file holds the weights of, told by the shapes of its arrays.

    Args:
      files: FILE or FILE@SHA256 each, safetensors files or folders that hold one.

    Raises:
      UserError: a file is missing, damaged, or of no known network.
    """
    found: dict[str, str | Path] = {}
    for file in files:
        shapes = WeightFile.named(file).shapes()
        name = dinov2.name_of(shapes) or clip.name_of(shapes)
        if name not in OWN_WEIGHTS:
            raise UserError(f"--weights={file}: not the weights of one of {', '.join(OWN_WEIGHTS)}")
        found[name] = file
    return found
