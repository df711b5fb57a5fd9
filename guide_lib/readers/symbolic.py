"""Pickles read as data: every instruction that would import or call something only writes down that it would.

>>> import io, pickle
>>> from collections import OrderedDict
>>> content = pickle.dumps(OrderedDict(steps=140))
>>> made = symbolic_pickle(io.BytesIO(content), allowed=lambda name: name == "collections.OrderedDict")
>>> made.path, made.entries
('collections.OrderedDict', {'steps': 140})

The ordinary pickle machine imports names and calls them. This one has no operation that does either: a name becomes
a `Name`, a call a `Made` that keeps the name and its arguments. What they mean is for the reader to decide.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from guide_lib.readers.common import expect, refuse

_FORMAT = "pickle"


@dataclass(frozen=True)
class Name:
    """Something that the pickle would import; path: `module.name`."""

    path: str


@dataclass(eq=False)
class Made:
    """Something that the pickle would make.

    path, args: the call. state: what the object would be given then. entries, items: its contents, by key and in order.
    """

    path: str
    args: tuple
    state: Any = None
    entries: dict = field(default_factory=dict)
    items: list = field(default_factory=list)


@dataclass(frozen=True)
class Persistent:
    """Something outside the pickle; key: what the pickle knows it by."""

    key: Any


class _Machine:
    """The stack, the memo and one small method for each kind of instruction."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what lay on the stack at each open mark
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def name(self, name: Any, module: Any) -> None:
        expect(isinstance(module, str) and isinstance(name, str), _FORMAT, "a name in it is not text")
        path = f"{module}.{name}"
        expect(self.allowed(path), _FORMAT, f"it asks for {path[:80]}, which no checkpoint needs")
        self.push(Name(path))

    def make(self, args: Any) -> None:
        function = self.pop()
        if isinstance(function, Persistent) and isinstance(function.key, tuple) and function.key[:1] == ("module",):
            function = function.key[1:] and function.key[1]  # a class, beside its source: torch.save's older format
        expect(isinstance(function, Name) and isinstance(args, tuple), _FORMAT, "it calls something that has no name")
        self.push(Made(function.path, args))

    def build(self) -> None:
        state, made = self.pop(), self.stack[-1]
        expect(isinstance(made, Made) and made.state is None, _FORMAT, "it changes something that takes no state")
        made.state = state

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, Made) else target
        expect(isinstance(target, list), _FORMAT, "it appends to something that is not a list")
        target.extend(values)

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        target = target.entries if isinstance(target, Made) else target
        expect(isinstance(target, dict), _FORMAT, "it sets an entry of something that is not a dictionary")
        target.update(zip(_keys(values[::2]), values[1::2], strict=True))

    def add(self, values: list[Any]) -> None:
        expect(isinstance(self.stack[-1], set), _FORMAT, "it adds to something that is not a set")
        self.stack[-1].update(_keys(values))

    def step(self, opcode: str, argument: Any) -> None:
        """Follow one instruction."""
        if opcode in _LITERALS:
            self.push(argument)
        elif opcode in _CONSTANTS:
            self.push(_CONSTANTS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            expect(opcode in _IGNORED, _FORMAT, f"it holds the unusual instruction {opcode}")


def _keys(values: list[Any]) -> list[Any]:
    """Refuse keys but text and numbers: to look up a deeply nested tuple can overflow the interpreter's stack."""
    expect(all(isinstance(value, str | int) for value in values), _FORMAT, "a key in it is neither text nor number")
    return values


_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda m, a: m.mark(),
    "GLOBAL": lambda m, a: m.name(*a.split(" ", 1)[::-1]),
    "STACK_GLOBAL": lambda m, a: m.name(m.pop(), m.pop()),
    "REDUCE": lambda m, a: m.make(m.pop()),
    "NEWOBJ": lambda m, a: m.make(m.pop()),
    "BUILD": lambda m, a: m.build(),
    "BINPERSID": lambda m, a: m.push(Persistent(m.pop())),
    "APPEND": lambda m, a: m.extend([m.pop()]),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.update([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, a: m.update(m.since_mark()),
    "ADDITEMS": lambda m, a: m.add(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.push((m.pop(),)),
    "TUPLE2": lambda m, a: m.push((m.pop(), m.pop())[::-1]),
    "TUPLE3": lambda m, a: m.push((m.pop(), m.pop(), m.pop())[::-1]),
    "POP": lambda m, a: m.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "MEMOIZE": lambda m, a: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "LONG_BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "BINGET": lambda m, a: m.push(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.push(m.memo[a]),
}


def symbolic_pickle(file: BinaryIO, allowed: Callable[[str], bool]) -> Any:
    """The first pickle in `file` as dictionaries, lists, numbers, text and `Made`; leaves `file` behind its end.

    Raises `GuideError` for a name that is not `allowed`, an unusual instruction or a damaged file.

    >>> import io, pickle
    >>> symbolic_pickle(io.BytesIO(pickle.dumps(print)), allowed=lambda name: False)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: This pickle file cannot be read (it asks for builtins.print, which no checkpoint
    needs); fetch the original file again.
    """
    machine = _Machine(allowed)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
    except LookupError:  # an empty stack, no open mark, a memo that was never filled
        refuse(_FORMAT, "its instructions do not fit together")
    except (ValueError, TypeError, OverflowError) as error:
        refuse(_FORMAT, f"it is damaged: {str(error)[:80]}")
    expect(len(machine.stack) == 1 and not machine.below, _FORMAT, "its instructions do not fit together")
    return machine.pop()
