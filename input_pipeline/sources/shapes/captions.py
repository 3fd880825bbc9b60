"""Captions as people vary them, and the way back: which attributes a caption asks for.

The same word lists serve both directions, so that what is written can always be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from input_pipeline.sources.shapes.attributes import (
    BACKGROUNDS,
    COLORS,
    NAMES,
    PLACES,
    SHAPES,
    SIZES,
    Attributes,
)

MAX_WORDS = 15  # a caption of 17 codes holds these between its start and its end
CAPTIONS = 5  # for each picture
SENTENCE_DRAWS = 7  # uniform numbers that a caption takes

# Nouns and adjectives, by name; the first is the plain word and is written most.
WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "dot"),
    "square": ("square", "box"),
    "triangle": ("triangle", "triangular shape"),
    "star": ("star", "star shape"),
    "heart": ("heart", "heart shape"),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "aqua"),
    "blue": ("blue", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge"),
    "white": ("white", "bright"),
    "gray": ("gray", "grey"),
    "black": ("black", "dark"),
}
_SIDE = ("on the {}", "on the {} side", "to the {}", "near the {} edge")
_END = ("at the {}", "near the {}", "near the {} edge")
PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "left": tuple(phrase.format("left") for phrase in _SIDE),
    "right": tuple(phrase.format("right") for phrase in _SIDE),
    "top": (*(phrase.format("top") for phrase in _END), "in the upper part"),
    "bottom": (*(phrase.format("bottom") for phrase in _END), "in the lower part"),
    "centre": ("in the middle", "in the center", "at the centre"),
}
_GROUNDS = (
    "on a {ground} background",
    "against a {ground} background",
    "on a {ground} backdrop",
    "over a {ground} canvas",
)
# `a` before a phrase picks "a" or "an". No sentence exceeds MAX_WORDS whatever is put in.
SENTENCES = (
    "a {size} {color} {shape} {place} {on_ground}",
    "a {size} {color} {shape} {on_ground} {place}",
    "a {color} {shape} that is {size} {place} {on_ground}",
    "{on_ground} there is a {size} {color} {shape} {place}",
    "{on_ground} a {size} {color} {shape} sits {place}",
    "{place} there is a {size} {color} {shape} {on_ground}",
    "{place} a {size} {color} {shape} {on_ground}",
    "the {shape} {place} is {size} and {color} {on_ground}",
    "the {ground} background has a {size} {color} {shape} {place}",
    "this {size} {color} {shape} is {place} {on_ground}",
    "{size} {color} {shape} {place} {ground} background",
    "one {size} {color} {shape} {place} with a {ground} background",
)

# What users also type; read, never written.
_ALSO_READ: dict[str, tuple[str, ...]] = {
    "circle": ("circles", "disk", "ball", "circular", "round"),
    "square": ("squares", "block"),
    "triangle": ("triangles", "pyramid"),
    "star": ("stars",),
    "heart": ("hearts",),
    "cross": ("crosses",),
    "ring": ("rings", "donut", "doughnut", "annulus"),
    "red": ("ruby",),
    "yellow": ("gold", "lemon"),
    "green": ("lime",),
    "cyan": ("teal",),
    "blue": ("navy", "azure"),
    "purple": ("lilac",),
    "pink": ("magenta", "fuchsia"),
    "small": ("smaller", "mini", "miniature"),
    "large": ("larger", "giant", "enormous", "great"),
    "white": ("pale", "light"),
    "gray": (),
    "black": ("darkness",),
    "left": ("leftmost",),
    "right": ("rightmost",),
    "top": ("upper", "above"),
    "bottom": ("lower", "below"),
    "centre": ("center", "middle", "central", "centered", "centred"),
}
_GROUND_NOUNS = frozenset(("background", "backdrop", "canvas", "ground", "surface", "wall"))
_FILLERS = frozenset(("shape",))


def _readable(name: str) -> Iterator[str]:
    for phrase in (name, *WORDS.get(name, ()), *_ALSO_READ.get(name, ())):
        yield from (word for word in phrase.split() if word not in _FILLERS)


_CODES: dict[str, dict[str, int]] = {
    field: {word: code for code, name in enumerate(names) for word in _readable(name)}
    for field, names in NAMES.items()
}
_SHADES = frozenset((*_CODES["color"], *_CODES["background"]))


def _choose(options: Sequence[str], draw: float) -> str:
    """The first option for the lower half of the draws, the others evenly for the rest."""
    if len(options) == 1 or draw < 0.5:
        return options[0]
    return options[1 + int((2.0 * draw - 1.0) * (len(options) - 1))]


def _article(sentence: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", sentence)


def caption_of(attributes: Attributes, draws: np.ndarray) -> str:
    """Returns a caption that names all five attributes.

    Args:
      attributes: all five given.
      draws: [SENTENCE_DRAWS] uniform numbers in [0, 1), which choose the words and their order.
    """
    shape, color, size, place, background = attributes
    ground = _choose(WORDS[BACKGROUNDS[background]], draws[0])
    sentence = SENTENCES[int(draws[1] * len(SENTENCES))]
    return _article(
        sentence.format(
            shape=_choose(WORDS[SHAPES[shape]], draws[2]),
            color=_choose(WORDS[COLORS[color]], draws[3]),
            size=_choose(WORDS[SIZES[size]], draws[4]),
            place=_choose(PLACE_PHRASES[PLACES[place]], draws[5]),
            ground=ground,
            on_ground=_choose(_GROUNDS, draws[6]).format(ground=ground),
        )
    )


def _described(tokens: list[str]) -> set[int]:
    """Where the tokens are that say how the background is: right before it, or after "is"."""
    described: set[int] = set()
    for at, token in enumerate(tokens):
        if token not in _GROUND_NOUNS:
            continue
        before = [at - back for back in (1, 2) if at >= back]
        while before and tokens[before[-1]] not in _SHADES:
            before.pop()
        if before and tokens[at - 1] in _SHADES:
            described.update(before)
        elif tokens[at + 1 : at + 2] == ["is"]:
            described.update(range(at + 2, min(at + 3, len(tokens))))
    return described


def _shading(tokens: list[str]) -> set[int]:
    """Where a background's word only shades the next: "dark red" is a red, "light gray" a gray."""
    return {
        at
        for at in range(len(tokens) - 1)
        if tokens[at] in _CODES["background"] and tokens[at + 1] in _SHADES
    }


def _only(codes: Iterator[int]) -> int | None:
    """The one value given, None where there is none or where they contradict each other."""
    found = set(codes)
    return found.pop() if len(found) == 1 else None


def attributes_of(caption: str | Sequence[str]) -> Attributes:
    """Returns what a caption asks for; a field is None where it does not say or says two things.

    Exact on every caption of this module, and reads most of what users type in its manner.

    Args:
      caption: a sentence, or its words.
    """
    text = caption if isinstance(caption, str) else " ".join(caption)
    tokens = re.findall(r"[a-z]+", text.lower())
    described, shading = _described(tokens), _shading(tokens)
    every = set(range(len(tokens)))
    where = dict.fromkeys(_CODES, every)
    where["color"] = every - described
    where["background"] = (described or every) - shading
    values = {
        field: _only(codes[tokens[at]] for at in where[field] if tokens[at] in codes)
        for field, codes in _CODES.items()
    }
    if any(tokens[at] in _CODES["color"] for at in described):
        values["background"] = None  # There are no coloured backgrounds.
    return Attributes(**values)
