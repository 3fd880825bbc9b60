"""A reader of XLA's compiled programs as text: cycles, collectives, and bytes moved."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)
# These name memory that is there already, and move none.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) "
    r"(?P<operation>[\w-]+)\((?P<rest>.*)$"
)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: that others know its value by.
      operation: such as "fusion" or "all-reduce-start".
      num_bytes: of its value.
      operands: names.
      text: the whole line.
    """

    name: str
    operation: str
    num_bytes: int
    operands: tuple[str, ...]
    text: str


def type_bytes(text: str) -> int:
    """Returns the bytes of all arrays in a type such as `(f32[8,3]{1,0}, bf16[])`."""
    return sum(
        math.ceil(int(bits or 8) / 8 * math.prod(int(n) for n in shape.split(",") if n))
        for _, bits, shape in _ARRAY.findall(text)
    )


def instructions(lines: Iterator[str] | list[str]) -> Iterator[Instruction]:
    """Yields the instructions among lines of a program."""
    for line in lines:
        if match := _INSTRUCTION.match(line):
            operands = re.findall(r"%([\w.-]+)", match["rest"].split(")", 1)[0])
            size = type_bytes(re.sub(r"\{[^}]*\}", "", match["type"]))
            yield Instruction(match["name"], match["operation"], size, tuple(operands), line)


def entry(text: str) -> list[Instruction]:
    """Returns the instructions of the program's entry computation, each a kernel or a copy."""
    _, _, body = text.partition("\nENTRY ")
    return list(instructions(body.partition("\n}")[0].splitlines()))


def estimated_cycles(text: str) -> int:
    """Returns the sum of the TPU compiler's estimates; 0 where it made none."""
    return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))


def collectives(text: str) -> dict[str, int]:
    """Returns how many transfers between chips there are of each kind, {"all-reduce": 3}.

    The compiler fuses a transfer into several computations, all of one channel: channels are
    counted, not lines.
    """
    channels: set[tuple[str, str]] = set()
    for line in text.splitlines():
        match = re.search(r" ([\w-]+)\(.*channel_id=(\d+)", line)
        if match and (kind := match[1].removesuffix("-start")) in _COLLECTIVES:
            channels.add((kind, match[2]))
    kinds = [kind for kind, _ in channels]
    return {kind: kinds.count(kind) for kind in _COLLECTIVES if kind in kinds}


def bytes_moved(program: list[Instruction]) -> int:
    """Returns the bytes that a program's instructions read and write in device memory.

    Each reads its operands and writes its value once; what a cache saves is not known.
    """
    sizes: Mapping[str, int] = {line.name: line.num_bytes for line in program}
    return sum(
        line.num_bytes + sum(sizes.get(name, 0) for name in line.operands)
        for line in program
        if line.operation not in _FREE and not line.operation.endswith("-done")
    )


def largest_values(program: list[Instruction], count: int) -> list[Instruction]:
    """Returns the instructions with the largest values that are computed, largest first."""
    computed = [line for line in program if line.operation not in _FREE]
    return sorted(computed, key=lambda line: -line.num_bytes)[:count]
