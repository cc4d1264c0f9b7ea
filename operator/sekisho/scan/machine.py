"""Walk a pickle opcode by opcode without running it.

The walk keeps a stack and a memo of what each value is: text, an import, a mark, or anything else. So an import whose
name is put together from the stack or the memo is seen as what it is, and nothing but a listed import is ever called.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.scan.entry import WHOLE_BYTES, TooLongError, Window
from sekisho.scan.findings import Severity
from sekisho.scan.imports import CALLED, NAMED

MAX_OPCODES: Final = 512 * 1024
MAX_MEMO: Final = 256 * 1024
_MOST_PROBLEMS: Final = 16


@dataclass(frozen=True, slots=True)
class Import:
    """Something imported by a pickle."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class BrokenPickleError(Exception):
    """Say at which point a pickle stops making sense."""


class _Sign:
    """A value of which nothing more need be known."""


_MARK: Final = _Sign()
_OTHER: Final = _Sign()
_TEXTS: Final = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})


@dataclass(slots=True)
class Machine:
    """What a pickle would do, value by value.

    Attributes:
        problems: (severity, place, what), each once.
    """

    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    problems: dict[tuple[Severity, str], int] = field(default_factory=dict)
    first: int | None = None
    place: int = 0

    def step(self, name: str, argument: Any, opcode: Any) -> None:
        """Do what one opcode does.

        Raises:
            BrokenPickleError: It takes what is not there.
        """
        act = _ACTS.get(name)
        if act is not None:
            act(self, argument)
        elif name in _TEXTS:
            self.stack.append(argument)
        elif name in _PUTS:
            self.remember(argument)
        elif name in _GETS:
            self.recall(argument)
        else:
            self.generic(opcode)
            if name == "LONG1" and self.first is None:
                self.first = argument

    def danger(self, what: str) -> None:
        """Note what must not be."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.setdefault((Severity.DANGER, what), self.place)

    def pop(self) -> object:
        """Take the top; a mark is none."""
        if not self.stack or self.stack[-1] is _MARK:
            raise BrokenPickleError("takes a value from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[object]:
        """Take all above the last mark, and the mark."""
        items: list[object] = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise BrokenPickleError("goes back to a mark that is not there")

    def bring(self, module: object, name: object) -> None:
        """Import and push."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.danger("imports something whose name is made while it runs")
            self.stack.append(_OTHER)
            return
        found = Import(module, name)
        if (module, name) not in NAMED:
            self.danger(f"imports {found}")
        self.stack.append(found)

    def call(self, target: object) -> None:
        """Call and push."""
        if not isinstance(target, Import):
            self.danger("calls something that is not a plain import")
        elif (key := (target.module, target.name)) in NAMED and key not in CALLED:  # others were told when imported
            self.danger(f"calls {target}")
        self.stack.append(_OTHER)

    def remember(self, key: int) -> None:
        """Put the top into the memo as well."""
        if len(self.memo) >= MAX_MEMO:
            raise BrokenPickleError(f"remembers more than {MAX_MEMO} values")
        value = self.pop()
        self.stack.append(value)
        self.memo[key] = value

    def recall(self, key: int) -> None:
        """Push from the memo."""
        if key not in self.memo:
            raise BrokenPickleError(f"recalls value {key}, which it never remembered")
        self.stack.append(self.memo[key])

    def build(self) -> None:
        """Set the state of an object, which an import must not be."""
        self.pop()
        if isinstance(target := self.pop(), Import):
            self.danger(f"sets attributes of {target} itself")
        self.stack.append(target)

    def generic(self, opcode: Any) -> None:
        """Do an opcode that takes and gives values of no interest."""
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            self.pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self.pop()
        self.stack.extend(_OTHER for _ in opcode.stack_after)


def _split(argument: str) -> tuple[str, str]:
    module, _, name = argument.partition(" ")
    return module, name


def _do_instance(machine: Machine, argument: Any) -> None:
    machine.bring(*_split(argument))  # first: Python imports before it looks for the mark
    target = machine.pop()
    machine.pop_to_mark()
    machine.call(target)


def _do_object(machine: Machine, _: Any) -> None:
    items = machine.pop_to_mark()
    if not items:
        raise BrokenPickleError("makes an object of no class")
    machine.call(items[0])


def _do_call(machine: Machine, _: Any) -> None:
    machine.pop()
    machine.call(machine.pop())


def _do_keyword_call(machine: Machine, _: Any) -> None:
    machine.pop()
    _do_call(machine, _)


def _do_stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.bring(module, name)


def _do_extension(machine: Machine, argument: Any) -> None:
    machine.danger(f"imports number {argument} of the extension registry")
    machine.stack.append(_OTHER)


def _do_pop(machine: Machine, _: Any) -> None:
    if not machine.stack:
        raise BrokenPickleError("takes a value from an empty stack")
    machine.stack.pop()


def _do_pop_mark(machine: Machine, _: Any) -> None:
    machine.pop_to_mark()


def _do_stop(machine: Machine, _: Any) -> None:
    machine.pop()


def _do_twice(machine: Machine, _: Any) -> None:
    value = machine.pop()
    machine.stack += [value, value]


_ACTS: Final[dict[str, Callable[[Machine, Any], None]]] = {
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "GLOBAL": lambda machine, argument: machine.bring(*_split(argument)),
    "STACK_GLOBAL": _do_stack_global,
    "INST": _do_instance,
    "OBJ": _do_object,
    "REDUCE": _do_call,
    "NEWOBJ": _do_call,
    "NEWOBJ_EX": _do_keyword_call,
    "BUILD": lambda machine, _: machine.build(),
    "EXT1": _do_extension,
    "EXT2": _do_extension,
    "EXT4": _do_extension,
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "POP": _do_pop,
    "POP_MARK": _do_pop_mark,
    "DUP": _do_twice,
    "STOP": _do_stop,
}


@dataclass(frozen=True, slots=True)
class Walk:
    """What one pickle would do.

    Attributes:
        end: The first byte after it; meaningless where it is not whole.
        broken: Why it cannot be read to its end; empty where it can.
        problems: (severity, place, what).
        first: The first long number in it, by which old files of PyTorch are known.
    """

    end: int
    broken: str
    problems: tuple[tuple[Severity, int, str], ...]
    first: int | None = None


def walk_pickle(window: Window) -> Walk:
    """Walk the pickle that begins where `window` stands; it ends at STOP or where it breaks."""
    machine = Machine()
    stream: Any = window
    try:
        broken = _run(machine, pickletools.genops(stream))
    except TooLongError:
        broken = f"has more than {WHOLE_BYTES} bytes"
    except BrokenPickleError as error:
        broken = str(error)
    except Exception as error:  # noqa: BLE001 - whatever the disassembler stumbles over, the file is not vouched for
        broken = f"cannot be taken apart: {error}"
    problems = tuple((severity, place, what) for (severity, what), place in machine.problems.items())
    return Walk(window.tell(), broken, problems, machine.first)


def _run(machine: Machine, opcodes: Iterator[tuple[Any, Any, int | None]]) -> str:
    for count, (opcode, argument, place) in enumerate(opcodes):
        if count >= MAX_OPCODES:
            return f"has more than {MAX_OPCODES} opcodes"
        machine.place = place or 0
        machine.step(opcode.name, argument, opcode)
    return ""
