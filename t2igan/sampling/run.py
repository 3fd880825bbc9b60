"""A trained run as a Python object: captions in, images out.

run = t2igan.load("runs/shapes")
images = run.sample(["a small red star on the left"], num=8, seed=0)  # uint8 [1, 8, H, W, 3]
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import (
    Encode,
    SentenceEncoder,
    open_known,
    sentence_of,
)
from input_pipeline.text.vocabulary import Vocabulary, tokenize
from t2igan.config import record
from t2igan.metrics.matcher.model import Matcher
from t2igan.recipes.base import Recipe, Variables
from t2igan.runtime import paths
from t2igan.sampling import best_of as reranking
from t2igan.sampling import exported, interpolation, pretrained
from t2igan.sampling.sampler import BATCH_SIZE, Sampler
from t2igan.workdir.checkpoints import restore_item
from t2igan.workdir.meta import CheckpointMeta


def load(
    workdir: str | Path, step: int | str = "latest", sentence_encoder: str | Encode | None = None
) -> Run:
    """Returns the run's generator, ready to draw, on all local devices.

    Args:
      workdir: folder or URL of the run; of `checkpoints/` only the generator and `meta` are read.
        Or what `t2igan export --format=safetensors` wrote: the folder, a ZIP of it, or
        hf://USER/NAME.
      step: of the checkpoint, "latest", or "best", see `config.checkpoint.best_metric`.
      sentence_encoder: for a run that reads sentence embeddings by another encoder than `minilm`:
        that encoder, or its name: clip:FILE, t5:FILE, module:attribute.

    Raises:
      UserError: no run there, no such checkpoint, or a damaged one.
    """
    workdir = paths.local(workdir, skip=paths.TRAINING_ONLY) if paths.is_url(workdir) else workdir
    if exported.is_export(workdir):
        variables, meta = exported.read(workdir)
        with _understood(Path(workdir), meta.step):
            return Run(Path(workdir), meta.step, meta, meta.recipe(), variables, sentence_encoder)
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"{workdir} is not a run's folder; `t2igan train --workdir` makes one")
    step, variables = restore_item(workdir, step, "generator")
    with _understood(workdir, step):
        meta = CheckpointMeta.from_json(restore_item(workdir, step, "meta")[1])
        return Run(workdir, step, meta, meta.recipe(), variables, sentence_encoder)


def load_pretrained(name: str) -> Run:
    """Returns a generator that ships with the package, ready to draw, on all local devices.

    Args:
      name: one of `t2igan.pretrained.names()`.

    Raises:
      UserError: there is none of that name, or its file is damaged.
    """
    path = pretrained.path_of(name)
    variables, meta = pretrained.read(path)
    return Run(path, meta.step, meta, meta.recipe(), variables)


@contextlib.contextmanager
def _understood(workdir: Path, step: int) -> Iterator[None]:
    """Turns whatever a damaged or foreign `meta` raises into one line."""
    try:
        with record.every_field_known():
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{workdir}: what step {step} says of itself is not understood "
            f"({type(error).__name__}): use the version of t2igan that wrote it"
        ) from error


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A trained generator with the words that it knows.

    Attributes:
      workdir: the run's folder; the file of one that ships with the package.
      step: of the checkpoint that was read.
      meta: what the checkpoint says of itself.
      recipe: networks.
      variables: the generator's, word vectors among them.
      given_encoder: of sentences; None for the one that `meta` names.
    """

    workdir: Path
    step: int
    meta: CheckpointMeta
    recipe: Recipe
    variables: dict[str, Any]
    given_encoder: str | Encode | None = None

    def __repr__(self) -> str:
        size, words = self.image_size, len(self.vocabulary)
        return (
            f"<Run of {self.config.recipe}, {size}x{size} pixels, step {self.step:,}, "
            f"{words:,} words, from {str(self.workdir)!r}>"
        )

    @property
    def config(self) -> ConfigDict:
        """The experiment."""
        return self.meta.config

    @property
    def vocabulary(self) -> Vocabulary:
        """Words and their codes."""
        assert self.meta.vocabulary is not None  # every checkpoint has it
        return self.meta.vocabulary

    @property
    def caption_length(self) -> int:
        """Codes a caption."""
        return self.meta.caption_length

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.recipe.image_size

    @property
    def reads_words(self) -> bool:
        """Whether the word codes count, or the sentence embedding alone."""
        return getattr(self.recipe.generator, "text_encoder", None) not in ("sentence", "tokens")

    def text(self, captions: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns N captions in plain English as the networks read them.

        Returns:
          {"codes": int32 [N, L]}, and "sentence": float16 [N, E] where they read it, or
          [N, 1 + T, E] with tokens.

        Raises:
          UserError: there are no captions, or the sentence encoder is missing or another one.
        """
        text = {"codes": self.encode(captions)}
        if self.recipe.reads_sentences:
            # Each alone: in a batch its last digits would depend on the others.
            rows = [self._sentence_encoder([sentence_of(caption)]) for caption in captions]
            text["sentence"] = np.concatenate(rows)
        return text

    @functools.cached_property
    def _sentence_encoder(self) -> SentenceEncoder:
        assert self.meta.sentence_encoder is not None  # the recipe reads sentences
        return open_known(self.meta.sentence_encoder, self.given_encoder)

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Returns int32 [N, L] codes of N captions in plain English.

        Raises:
          UserError: there are none, or a single text stands where a list of them should.
        """
        if isinstance(captions, str) or not len(captions):
            raise UserError(f"captions={captions!r}: give a list of texts, e.g. ['a red star']")
        rows = [self.vocabulary.encode(caption, self.caption_length) for caption in captions]
        return np.stack(rows)

    def unknown_words(self, captions: Sequence[str]) -> dict[str, list[str]]:
        """Returns words that this run never learned, each with known words of near spelling."""
        words = dict.fromkeys(
            word for caption in captions for word in self.vocabulary.unknown_words(caption)
        )
        return {word: self.vocabulary.near(word) for word in words}

    def cut_captions(self, captions: Sequence[str]) -> dict[str, list[str]]:
        """Returns the captions that are too long, each with the words at its end that are lost."""
        room = self.caption_length - 2  # start and end have codes too
        words = {caption: tokenize(caption) for caption in captions}
        return {caption: found[room:] for caption, found in words.items() if len(found) > room}

    def sample(
        self,
        captions: Sequence[str],
        num: int = 1,
        seed: int = 0,
        *,
        truncation: float = 1.0,
        best_of: int = 1,
        matcher: Matcher | str | Path | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Returns uint8 [N, num, S, S, 3]: `num` images of each caption.

        Column j uses the same noise for every caption. An image depends on its caption, j, the
        seed, the truncation and `best_of` alone, not on what else is drawn.

        Args:
          captions: N sentences; unknown words count as `x_UNK_` (see `unknown_words`).
          num: images a caption, >= 1.
          seed: of the noise.
          truncation: the noise is scaled by it; below 1 gives likelier and less varied images.
          best_of: images drawn for each one wanted, of which the matcher keeps the best.
          matcher: from `t2igan train_matcher`, loaded or its file; needed where best_of > 1.
          progress: show a bar.

        Raises:
          UserError: no captions, a number of images below 1, or no matcher to choose with.
        """
        if num < 1:
            raise UserError(f"num={num}: must be 1 or more")
        if best_of < 1:
            raise UserError(f"best_of={best_of}: must be 1 or more")
        if best_of > 1:
            draw = functools.partial(
                self.sample, seed=seed, truncation=truncation, progress=progress
            )
            judge = reranking.opened(matcher)
            return reranking.sample_best(draw, captions, num, best_of, judge)
        text = _each(self.text(captions), num)
        columns = np.tile(np.arange(num, dtype=np.int32), len(captions))
        images = self.generate(text, columns, seed, truncation=truncation, progress=progress)
        return images.reshape(len(captions), num, *images.shape[1:])

    def generate(
        self,
        text: Mapping[str, np.ndarray],
        indices: np.ndarray,
        seed: int,
        *,
        truncation: float = 1.0,
        batch_size: int = BATCH_SIZE,
        progress: bool = False,
    ) -> np.ndarray:
        """Returns uint8 [B, S, S, 3], row by row of text and noise.

        Args:
          text: {"codes": int32 [B, L]}, and "sentence" [B, E] where the networks read it.
          indices: int [B] which noise of the seed each row takes.
          seed: of the noise.
          truncation: scale of the noise.
          batch_size: images computed at once.
          progress: show a bar.
        """
        sampler, variables = self._sampler(batch_size)
        key = jax.random.key(seed)
        return sampler.sample(variables, text, indices, key, truncation, progress)

    def noise(
        self, seeds: np.ndarray, indices: np.ndarray, truncations: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Returns the noise that `generate` takes, [B, dim] each, of many seeds at once.

        Args:
          seeds: int [B].
          indices: int [B] which noise of its seed each row takes.
          truncations: float [B] scale of each row.
        """
        sampler, _ = self._sampler(BATCH_SIZE)
        return sampler.noise_of_seeds(seeds, indices, truncations)

    def generate_from(
        self, text: Mapping[str, np.ndarray], noise: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Returns uint8 [B, S, S, 3] of texts as `generate` takes them, and of noise of `noise`."""
        sampler, variables = self._sampler(BATCH_SIZE)
        return sampler.from_noise(variables, text, noise)

    def interpolate_captions(
        self,
        start: str,
        end: str,
        steps: int,
        *,
        num: int = 1,
        seed: int = 0,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """Returns uint8 [num, steps, S, S, 3]: from one caption to another, a row a noise.

        The first and the last column are the images that `sample` draws of the two.

        Args:
          start: the first image's caption.
          end: the last one's.
          steps: images on the way, both ends included, >= 2.
          num: rows.
          seed: of the noise.
          truncation: scale of the noise.
        """
        table = np.asarray(self.variables["frozen"]["words"]["table"])
        ends = self.text([start, end])
        way = interpolation.between_captions(table, ends["codes"], steps)
        if "sentence" in ends:
            way["sentence"] = interpolation.between_sentences(ends["sentence"], steps)
        text = {name: np.tile(rows, (num, *[1] * (rows.ndim - 1))) for name, rows in way.items()}
        indices = np.repeat(np.arange(num, dtype=np.int32), steps)
        images = self.generate(text, indices, seed, truncation=truncation)
        return images.reshape(num, steps, *images.shape[1:])

    def interpolate_noise(
        self,
        captions: Sequence[str],
        steps: int,
        *,
        seed: int = 0,
        columns: tuple[int, int] = (0, 1),
        truncation: float = 1.0,
    ) -> np.ndarray:
        """Returns uint8 [N, steps, S, S, 3]: from one noise to another, a row a caption.

        Args:
          captions: N sentences.
          steps: images on the way, both ends included, >= 2.
          seed: of the noise.
          columns: which two images of `sample` are the ends.
          truncation: scale of the noise.
        """
        ends = np.resize(np.array(columns, np.int32), BATCH_SIZE)  # made as `generate` makes it
        sampler, variables = self._sampler(BATCH_SIZE)
        noises = jax.device_get(sampler.noise(jax.random.key(seed), ends, truncation))
        noise = {
            name: np.tile(interpolation.between_noises(rows[0], rows[1], steps), (len(captions), 1))
            for name, rows in noises.items()
        }
        text = _each(self.text(captions), steps)
        images = sampler.from_noise(variables, text, noise)
        return images.reshape(len(captions), steps, *images.shape[1:])

    def _sampler(self, batch_size: int) -> tuple[Sampler, Variables]:
        """The sampler of a batch size and the variables on its devices, made at first use."""
        if batch_size not in self._samplers:
            sampler = Sampler(self.recipe, batch_size)
            variables = sampler.place({"batch_stats": {}} | self.variables)
            self._samplers[batch_size] = sampler, variables
        return self._samplers[batch_size]

    @functools.cached_property
    def _samplers(self) -> dict[int, tuple[Sampler, Variables]]:
        return {}


def _each(text: Mapping[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """Every caption `times` times over."""
    return {name: np.repeat(rows, times, axis=0) for name, rows in text.items()}
