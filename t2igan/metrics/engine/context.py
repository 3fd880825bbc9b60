"""The context of an evaluation: image sets, feature rows made once, references, a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from input_pipeline.errors import UserError
from t2igan.metrics.engine.image_sets import Generate, ImageSet
from t2igan.metrics.engine.provenance import computed_with
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.engine.row_store import RowStore


class Reader(Protocol):
    """Anything that makes a row of numbers of each image: a feature network, an oracle."""

    name: str
    dim: int
    provenance: dict[str, Any]

    def rows(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Returns [B, dim] rows of each uint8 [B, H, W, 3] batch."""
        ...


Measure = Callable[[np.ndarray, np.ndarray], dict[str, Estimate]]


@dataclasses.dataclass
class Context:
    """One evaluation. Metrics take from it and never from each other.

    Attributes:
      sets: image sets by name. `fake` are the model's images; `real` the whole split; `other`
        real images of another split, as many as fakes; `other_blurred` those blurred;
        `real_blurred` the split blurred; `train` the images that the model has learned from.
      readers: feature networks and oracles by name.
      network: name of the one that metrics without a network of their own use.
      dataset: the prepared data set, where there is one.
      generate: the model, where there is one.
      matcher: tells which caption belongs to which image, where there is one.
      seed: of every draw.
      resamples: of the bootstrap.
      about: what goes into the provenance of every result.
      folder: where metrics that show images write them, or None.
      progress: whether passes show a bar.
    """

    sets: dict[str, ImageSet]
    readers: dict[str, Any]
    network: str
    dataset: Any = None
    generate: Any = None
    matcher: Any = None
    seed: int = 0
    resamples: int = 100
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    folder: Any = None
    progress: bool = False
    store: RowStore = dataclasses.field(default_factory=RowStore)
    _references: dict[str, dict[str, Estimate]] = dataclasses.field(default_factory=dict)
    _made: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    _wanted: set[str] = dataclasses.field(default_factory=set)

    def want(self, readers: Iterable[str]) -> None:
        """Announces which readers will be asked for, so that one pass serves them all."""
        self._wanted |= set(readers)

    def image_set(self, name: str) -> ImageSet:
        """Returns an image set.

        Raises:
          UserError: this evaluation has none of that name.
        """
        if name not in self.sets:
            raise UserError(f"there are no {name!r} images here: {_WHY[name]}")
        return self.sets[name]

    def has(self, name: str) -> bool:
        """Returns whether there is an image set of that name."""
        return name in self.sets

    def rows(self, population: str, reader: str) -> np.ndarray:
        """Returns float32 [n, dim] rows of an image set, made at the first time of asking."""
        key = f"{population}/{reader}"
        if key not in self.store:
            # Generating is what costs: only fakes are shown to readers that have not asked yet.
            names = {reader, *(self._wanted if population == "fake" else ())}
            self._pass(
                population, [n for n in sorted(names) if f"{population}/{n}" not in self.store]
            )
        return self.store.get(key)

    def paired_rows(self, population: str, reader: str) -> np.ndarray:
        """Returns rows of real images (`real` or `real_blurred`) in the order of the fakes'
        captions.
        """
        return self.rows(population, reader)[self.image_set("fake").partners]

    def renew(self, fake: ImageSet, generate: Generate | None, about: dict[str, Any]) -> None:
        """Goes on to another model; what is known of real images is kept."""
        self.sets["fake"], self.generate, self.about = fake, generate, about
        self.store.forget(name for name in self.store.names() if name.startswith("fake/"))

    def against_real(
        self, key: str, measure: Measure, *, reader: str, better: str, **more: Any
    ) -> list[Result]:
        """Returns how fakes compare to the real split, and how other real and blurred images do.

        Args:
          key: tells the references of this measure from others'.
          measure: (real rows, rows of the others) -> estimates by the names of their metrics.
          reader: whose rows.
          better: `lower` or `higher`.
          more: for the provenance.
        """
        real = self.rows("real", reader)
        estimates = measure(real, self.rows("fake", reader))
        references: dict[str, dict[str, Estimate]] = {}
        for name, label in (("other", "real"), ("other_blurred", "blurred")):
            if self.has(name):
                references[label] = self.reference(
                    f"{key}/{reader}/{label}",
                    lambda name=name: measure(real, self.rows(name, reader)),
                )
        about = self.provenance(reader, "real", "other", **more)
        return [
            Result(metric, estimate, better, {k: v[metric] for k, v in references.items()}, about)
            for metric, estimate in estimates.items()
        ]

    def reference(self, name: str, make: Callable[[], dict[str, Estimate]]) -> dict[str, Estimate]:
        """Returns estimates that no model changes, made once."""
        if name not in self._references:
            self._references[name] = make()
        return self._references[name]

    def once(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns an array that no model changes, e.g. of the captions, made once."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def provenance(self, reader: str | None, *others: str, **more: Any) -> dict[str, Any]:
        """Returns everything that a result on fakes and the `others` depends on."""
        known: dict[str, Any] = dict(self.about)
        if reader is not None:
            known |= self.readers[reader].provenance
        known |= self.image_set("fake").about
        known["pictures"] = {
            name: self.sets[name].count for name in ("fake", *others) if self.has(name)
        }
        for name in others:
            if self.has(name) and "split" in self.sets[name].about:
                known[f"{name}_split"] = self.sets[name].about["split"]
        known |= {"seed": self.seed, "interval": "95 %, bootstrap over images"}
        return known | computed_with() | more

    def _pass(self, population: str, names: list[str]) -> None:
        """Goes through an image set once; each batch is shown to every reader."""
        pictures = self.image_set(population)
        readers = [self.readers[name] for name in names]
        keys = [f"{population}/{name}" for name in names]
        tables = [
            self.store.create(key, pictures.count, reader.dim)
            for key, reader in zip(keys, readers, strict=True)
        ]
        bar = tqdm(
            total=pictures.count,
            desc=f"{population} images",
            unit="image",
            disable=not self.progress,
        )
        at = 0
        with bar:
            for images in pictures.batches():
                for table, reader in zip(tables, readers, strict=True):
                    start = at
                    for rows in reader.rows([images]):
                        table[start : start + len(rows)] = rows
                        start += len(rows)
                at += len(images)
                bar.update(len(images))
        for key, table in zip(keys, tables, strict=True):
            self.store.close(key, table)


_WHY = {
    "fake": "give --workdir=RUN or --images=DIR",
    "real": "give --dataset=DATASET to compare with its images",
    "other": "the data set has no second split to take real images from",
    "other_blurred": "the data set has no second split to take real images from",
    "real_blurred": "give --dataset=DATASET to compare with its images",
    "train": "the data set has no train split",
}
