"""A trained run as a Python object: captions in, pictures out.

run = t2igan.load("runs/shapes")
images = run.sample(["a small red star on the left"], num=8, seed=0)  # uint8 [1, 8, H, W, 3]
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import (
    Encode,
    Identity,
    SentenceEncoder,
    open_known,
    sentence_of,
)
from input_pipeline.text.vocabulary import Vocabulary, tokenise
from t2igan.config import override as configs
from t2igan.metrics.matcher.model import Matcher
from t2igan.recipes.base import Recipe
from t2igan.recipes.registry import recipe_of
from t2igan.runtime.device import data_mesh
from t2igan.runtime.rng import example_noise
from t2igan.runtime.sharding import replicate
from t2igan.sampling import best_of as reranking
from t2igan.sampling import interpolation, pretrained
from t2igan.sampling.sampler import draw_all, make_draw_fn
from t2igan.workdir.checkpoints import restore_item

# Pictures computed at once. Always as many, the last ones padded: another batch size is another
# program, whose rounding may differ, and the same seed is to give the same picture.
BATCH_SIZE = 16


def load(
    workdir: str | Path, step: int | str = "latest", sentence_encoder: str | Encode | None = None
) -> Run:
    """Returns the run's generator, ready to draw, on all local devices.

    Args:
      workdir: folder of the run; of `checkpoints/` only the generator and `meta` are read.
      step: of the checkpoint, "latest", or "best" by the run's `config.checkpoint.best_metric`.
      sentence_encoder: for a run that reads sentence embeddings by another encoder than `minilm`:
        that encoder, or its `module:attribute`.

    Raises:
      UserError: no run there, no such checkpoint, or a damaged one.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"{workdir} is not a run's folder; `t2igan train --workdir` makes one")
    step, variables = restore_item(workdir, step, "generator")
    _, meta = restore_item(workdir, step, "meta")
    return _run(workdir, step, variables, meta, sentence_encoder)


def load_pretrained(name: str) -> Run:
    """Returns a generator that ships with the package, ready to draw, on all local devices.

    Args:
      name: one of `t2igan.pretrained.names()`.

    Raises:
      UserError: there is none of that name, or its file is damaged.
    """
    path = pretrained.path_of(name)
    variables, meta = pretrained.read(path)
    return _run(path, int(meta.get("step", 0)), variables, meta)


def _run(
    workdir: Path,
    step: int,
    variables: dict[str, Any],
    meta: dict[str, Any],
    sentence_encoder: str | Encode | None = None,
) -> Run:
    try:
        with configs.every_field_known():
            return Run(
                workdir=workdir,
                step=step,
                config=configs.ConfigDict(meta["config"]),
                recipe=recipe_of(meta),
                vocabulary=Vocabulary(tuple(meta["vocabulary"])),
                caption_length=int(meta["caption_length"]),
                variables={"batch_stats": {}} | variables,
                meta=meta,
                given_encoder=sentence_encoder,
            )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{workdir}: what step {step} says of itself is not understood "
            f"({type(error).__name__}): use the version of t2igan that wrote it"
        ) from error


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A generator with the words it knows.

    Attributes:
      workdir: the run's folder; the file of one that ships with the package.
      step: of the checkpoint that was read.
      config: the experiment.
      recipe: its networks.
      vocabulary: words and their codes.
      caption_length: codes a caption.
      variables: the generator's, word vectors with them.
      meta: what the checkpoint says of itself.
      given_encoder: of sentences; None for the one that `meta` names.
    """

    workdir: Path
    step: int
    config: Any
    recipe: Recipe
    vocabulary: Vocabulary
    caption_length: int
    variables: dict[str, Any]
    meta: dict[str, Any]
    given_encoder: str | Encode | None = None

    @property
    def image_size(self) -> int:
        """Height and width of the pictures in pixels."""
        return self.recipe.image_size

    @property
    def reads_words(self) -> bool:
        """Whether the word codes count, or the sentence embedding alone."""
        return getattr(self.recipe.generator, "text_encoder", None) != "sentence"

    def text(self, captions: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns N captions in plain English as the networks read them.

        Returns:
          {"codes": int32 [N, L]}, and "sentence": float16 [N, E] where they read it.

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
        learned = Identity.from_json(self.meta["sentence_encoder"])
        return open_known(learned, self.given_encoder)

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
        words = {caption: tokenise(caption) for caption in captions}
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
        """Returns uint8 [N, num, S, S, 3]: `num` pictures of each caption.

        Column j uses the same noise for every caption. A picture depends on its caption, j, the
        seed, the truncation and `best_of` alone, not on what else is drawn.

        Args:
          captions: N sentences; unknown words count as `x_UNK_` (see `unknown_words`).
          num: pictures a caption, >= 1.
          seed: of the noise.
          truncation: the noise is scaled by it; below 1 gives likelier and less varied pictures.
          best_of: pictures drawn for each one wanted, of which the matcher keeps the best.
          matcher: from `t2igan train_matcher`, loaded or its file; needed where best_of > 1.
          progress: show a bar.

        Raises:
          UserError: no captions, a number of pictures below 1, or no matcher to choose with.
        """
        if num < 1:
            raise UserError(f"num={num}: must be 1 or more")
        if best_of < 1:
            raise UserError(f"best_of={best_of}: must be 1 or more")
        if best_of > 1:
            options = {"seed": seed, "truncation": truncation, "progress": progress}
            draw = functools.partial(self.sample, **options)
            judge = reranking.opened(matcher)
            return reranking.sample_best(draw, captions, num, best_of, judge)
        text = _each(self.text(captions), num)
        columns = np.tile(np.arange(num, dtype=np.int32), len(captions))
        images = self.generate(text, columns, seed, truncation=truncation, progress=progress)
        return images.reshape(len(captions), num, *images.shape[1:])

    def generate(
        self,
        text: dict[str, np.ndarray],
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
          batch_size: pictures computed at once, a multiple of BATCH_SIZE.
          progress: show a bar.
        """
        key = jax.random.key(seed)

        def draw(text: Any, indices: np.ndarray) -> jax.Array:
            return self._draw(self._placed, text, self._noise(key, indices, truncation))

        rows = (_in_float32(text), np.asarray(indices, np.int32))
        return draw_all(draw, rows, self.image_size, batch_size, progress)

    def walk_captions(
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

        The first and the last column are the pictures that `sample` draws of the two.

        Args:
          start: the first picture's caption.
          end: the last one's.
          steps: pictures on the way, both ends included, >= 2.
          num: rows.
          seed: of the noise.
          truncation: scale of the noise.
        """
        table = np.asarray(self.variables["frozen"]["words"]["table"])
        ends = _in_float32(self.text([start, end]))
        way = interpolation.between_captions(table, ends["codes"], steps)
        if "sentence" in ends:
            way["sentence"] = interpolation.between_sentences(ends["sentence"], steps)
        text = {name: np.tile(rows, (num, *[1] * (rows.ndim - 1))) for name, rows in way.items()}
        indices = np.repeat(np.arange(num, dtype=np.int32), steps)
        images = self.generate(text, indices, seed, truncation=truncation)
        return images.reshape(num, steps, *images.shape[1:])

    def walk_noises(
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
          steps: pictures on the way, both ends included, >= 2.
          seed: of the noise.
          columns: which two pictures of `sample` are the ends.
          truncation: scale of the noise.
        """
        ends = np.resize(np.array(columns, np.int32), BATCH_SIZE)  # drawn as `generate` does
        noises = jax.device_get(self._noise(jax.random.key(seed), ends, truncation))
        noise = {
            name: np.tile(interpolation.between_noises(*rows[:2], steps), (len(captions), 1))
            for name, rows in noises.items()
        }
        text = _in_float32(_each(self.text(captions), steps))

        def draw(text: Any, noise: Any) -> jax.Array:
            return self._draw(self._placed, text, noise)

        images = draw_all(draw, (text, noise), self.image_size, BATCH_SIZE)
        return images.reshape(len(captions), steps, *images.shape[1:])

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        # As many devices as divide the batch evenly; of this process alone.
        devices = jax.local_devices()
        while BATCH_SIZE % len(devices):
            devices = devices[:-1]
        return data_mesh(devices)

    @functools.cached_property
    def _placed(self) -> Any:
        return replicate(self.variables, self._mesh)

    @functools.cached_property
    def _draw(self) -> Callable[..., jax.Array]:
        """(variables, text, noise) -> pictures: one program, whatever the noise comes from."""
        return make_draw_fn(self.recipe, self._mesh)

    @functools.cached_property
    def _noise(self) -> Callable[..., dict[str, jax.Array]]:
        dims = self.recipe.noise_dims

        def noise(key: jax.Array, indices: jax.Array, scale: float) -> dict[str, jax.Array]:
            return jax.tree.map(lambda rows: rows * scale, example_noise(key, indices, dims))

        return jax.jit(noise)


def _each(text: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """Every caption `times` times over."""
    return {name: np.repeat(rows, times, axis=0) for name, rows in text.items()}


def _in_float32(text: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same text, stored sentence embeddings widened: another type is another program."""
    if "sentence" not in text:
        return text
    return {**text, "sentence": np.asarray(text["sentence"], np.float32)}
