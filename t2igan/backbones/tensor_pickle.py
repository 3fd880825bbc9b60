"""The few pickle instructions that a dictionary of tensors needs, run without calling anything.

A pickle is a small program for a stack machine, whose usual interpreter can be told to call any
function on the computer. The one here knows some thirty instructions and the names of PyTorch's
tensors and storages, none of which it looks up or calls. Anything else is refused by name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAX_INSTRUCTIONS = 2_000_000
MAX_NUMBERS = 2**28

_STORAGES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}
_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_NAMES = {_DICT, _TENSOR, _PARAMETER, *_STORAGES}
_MARK = object()


class Name(str):
    """A global that the file mentions. Never looked up, never called."""


class Storage(NamedTuple):
    """Where the numbers of a tensor lie: a key into the file, how many, and of what type."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A window on a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Refused(ValueError):
    """The file asks for something that a dictionary of tensors does not need."""


class _Machine:
    """The stack, the memo and what each allowed instruction does to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def take(self, count: int) -> tuple[Any, ...]:
        if count > len(self.stack):
            raise Refused("its stack runs empty")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused("items set on something other than a dictionary")
        if not all(isinstance(key, str | int) for key in items[::2]):
            raise Refused("a dictionary whose keys are not names")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise Refused("items appended to something other than a list")
        self.stack[-1].extend(items)

    def name(self, text: str) -> None:
        if text not in _NAMES:
            raise Refused(f"it asks for {text!r}")
        self.stack.append(Name(text))

    def storage(self) -> None:
        (item,) = self.take(1)
        kind, storage, key, _, count = item[:5]
        if kind != "storage" or not isinstance(storage, Name) or not isinstance(key, str):
            raise Refused("a storage of an unknown kind")
        if not isinstance(count, int) or not 0 <= count <= MAX_NUMBERS:
            raise Refused("a storage of impossible length")
        self.stack.append(Storage(key, _STORAGES[storage], count))

    def build(self) -> None:
        """Attributes set on an object: PyTorch's `_metadata`, which holds no numbers."""
        self.take(1)

    def reduce(self) -> None:
        name, arguments = self.take(2)
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is no name")
        if name == _DICT and not arguments:
            self.stack.append({})
        elif name == _TENSOR and isinstance(arguments[0], Storage):
            storage, offset, shape, strides = arguments[:4]
            if not all(isinstance(n, int) for n in (offset, *shape, *strides)):
                raise Refused("a tensor of impossible shape")
            self.stack.append(Tensor(storage, offset, tuple(shape), tuple(strides)))
        elif name == _PARAMETER and isinstance(arguments[0], Tensor):
            self.stack.append(arguments[0])
        else:
            raise Refused(f"it calls {name!r} in an unknown way")


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _put(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


_Action = Callable[[_Machine, Any], None]
_ACTIONS: dict[str, _Action] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": lambda m, a: _push(m, _MARK),
    "NONE": lambda m, a: _push(m, None),
    "NEWTRUE": lambda m, a: _push(m, True),
    "NEWFALSE": lambda m, a: _push(m, False),
    "EMPTY_DICT": lambda m, a: _push(m, {}),
    "EMPTY_LIST": lambda m, a: _push(m, []),
    "EMPTY_TUPLE": lambda m, a: _push(m, ()),
    "TUPLE": lambda m, a: _push(m, tuple(m.since_mark())),
    "TUPLE1": lambda m, a: _push(m, m.take(1)),
    "TUPLE2": lambda m, a: _push(m, m.take(2)),
    "TUPLE3": lambda m, a: _push(m, m.take(3)),
    "SETITEM": lambda m, a: m.fill(list(m.take(2))),
    "SETITEMS": lambda m, a: m.fill(m.since_mark()),
    "APPEND": lambda m, a: m.append(list(m.take(1))),
    "APPENDS": lambda m, a: m.append(m.since_mark()),
    "MEMOIZE": lambda m, a: _put(m, len(m.memo)),
    "BINPERSID": lambda m, a: m.storage(),
    "GLOBAL": lambda m, a: m.name(a),
    "REDUCE": lambda m, a: m.reduce(),
    "BUILD": lambda m, a: m.build(),
    "STOP": lambda m, a: None,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, a: _push(m, m.memo[a])),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"), _push
    ),
}


def interpret(file: BinaryIO) -> Any:
    """The value that one pickle describes; the file is left just after it.

    Numbers, text, tuples, lists and dictionaries come as such, tensors as `Tensor` descriptions.

    Raises:
      Refused: at the first instruction or name outside the allowed ones.
      ValueError, TypeError, IndexError, KeyError: where the pickle is malformed.
    """
    machine = _Machine()
    for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_INSTRUCTIONS:
            raise Refused("more instructions than a feature network needs")
        action = _ACTIONS.get(instruction.name)
        if action is None:
            raise Refused(f"it uses the instruction {instruction.name}")
        action(machine, argument)
    (value,) = machine.take(1)
    return value
