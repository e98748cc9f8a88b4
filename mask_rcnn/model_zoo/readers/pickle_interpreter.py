"""Safe interpreter of pickles, for untrusted files.

Python's `pickle` trusts the sizes in a file: 13 bytes can make it allocate 4 GB. This interpreter supports
only the opcodes that checkpoints use. It allocates no more than the file contains, and hashes only scalars.
"""

import struct
from collections.abc import Callable
from typing import Any

MAX_OPCODES = 400_000  # the largest training checkpoints have about 100,000
MAX_LINE = 1000  # bytes of a line, which contains a number or a dotted name
MAX_INT = 64  # bytes
KEYS = (str, int, float, bool, bytes, type(None))  # the hash of nested tuples could take too long

CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
EMPTY = {b"]": list, b"}": dict, b"\x8f": set, b")": tuple}
# Opcodes with an argument of fixed size, and its `struct` format.
NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
MEMO = {b"q": "<B", b"r": "<I", b"h": "<B", b"j": "<I"}
# Opcodes with a length before their argument: `struct` format of the length, and the encoding of text, "int"
# for integers, or None for bytes.
SIZED = {
    b"T": ("<i", "latin1"),
    b"U": ("<B", "latin1"),
    b"X": ("<I", "utf-8"),
    b"\x8c": ("<B", "utf-8"),
    b"\x8d": ("<Q", "utf-8"),
    b"B": ("<I", None),
    b"C": ("<B", None),
    b"\x8e": ("<Q", None),
    b"\x96": ("<Q", None),
    b"\x8a": ("<B", "int"),
    b"\x8b": ("<i", "int"),
}
TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}


class RefusedPickleError(ValueError):
    """A pickle has a form that checkpoints do not have. The message describes it."""


class Interpreter:
    """Interprets consecutive pickles in a buffer.

    Args:
        buffer: memoryview of the bytes.
        find: Function of a dotted name that returns the object to use for it.
        load_storage: Function of a persistent id that returns the object.
        call: Function of (callable object, tuple of arguments) that performs a call of the pickle.
        set_state: Function of (object, state) that sets the state of an object.
    """

    def __init__(
        self,
        buffer: memoryview,
        *,
        find: Callable[[str], object],
        load_storage: Callable[[object], object],
        call: Callable[[object, tuple], object],
        set_state: Callable[[object, object], None],
    ):
        self.buffer, self.position = buffer, 0
        self.find, self.load_storage, self.call, self.set_state = find, load_storage, call, set_state
        self.budget = MAX_OPCODES

    def load(self) -> Any:
        """Returns the object of the next pickle. Raises exceptions of many types if the pickle is damaged."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        while True:
            self.budget -= 1
            if self.budget < 0:
                raise RefusedPickleError(f"more than {MAX_OPCODES} opcodes")
            code = bytes(self._read(1))
            if code == b".":
                return self.stack.pop()
            if not (self._push_value(code) or self._change(code) or self._build(code)):
                raise RefusedPickleError(f"the opcode {code!r}")

    def _read(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.buffer) - self.position:
            raise EOFError(f"{size} bytes are declared, {len(self.buffer) - self.position} are left")
        self.position += size
        return self.buffer[self.position - size : self.position]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _line(self) -> str:
        start = bytes(self.buffer[self.position : self.position + MAX_LINE])
        if b"\n" not in start:
            raise RefusedPickleError(f"a line of more than {MAX_LINE} bytes")
        line = start[: start.index(b"\n")]
        self.position += len(line) + 1
        return line.decode("utf-8")

    def _push_value(self, code: bytes) -> bool:
        """Executes an opcode that pushes a scalar or an empty container. Returns False for other opcodes."""
        if code in CONSTANTS:
            self.stack.append(CONSTANTS[code])
        elif code in EMPTY:
            self.stack.append(EMPTY[code]())
        elif code in NUMBERS:
            self.stack.append(self._number(NUMBERS[code]))
        elif code in SIZED:
            self.stack.append(self._sized(*SIZED[code]))
        elif code in (b"I", b"L"):
            line = self._line().removesuffix("L")
            self.stack.append(line == "01" if code == b"I" and line in ("00", "01") else int(line))
        elif code == b"F":
            self.stack.append(float(self._line()))
        elif code == b"V":
            self.stack.append(self._line().encode("latin1").decode("raw_unicode_escape"))
        else:
            return False
        return True

    def _sized(self, length_form: str, encoding: str | None) -> memoryview | int | str:
        size = self._number(length_form)
        if encoding == "int" and size > MAX_INT:
            raise RefusedPickleError(f"an int of {size} bytes")
        content = self._read(size)
        if encoding is None:
            return content  # not copied, because it may be a large array
        if encoding == "int":
            return int.from_bytes(content, "little", signed=True)
        return str(content, encoding, "strict" if encoding == "latin1" else "surrogatepass")

    def _change(self, code: bytes) -> bool:
        """Executes an opcode that changes the stack, the memo or a container. Returns False for others."""
        if code == b"\x80":
            self._read(1)  # protocol version, not needed to interpret the opcodes
        elif code == b"\x95":
            self._read(8)  # size of a frame
        elif code == b"(":
            self.marks.append(len(self.stack))
        elif code == b"0":
            self.stack.pop()
        elif code == b"1":
            self._pop_mark()
        elif code in (b"q", b"r"):
            self.memo[self._number(MEMO[code])] = self.stack[-1]
        elif code == b"p":
            self.memo[int(self._line())] = self.stack[-1]
        elif code == b"\x94":
            self.memo[len(self.memo)] = self.stack[-1]
        elif code in (b"h", b"j"):
            self.stack.append(self.memo[self._number(MEMO[code])])
        elif code == b"g":
            self.stack.append(self.memo[int(self._line())])
        elif code in (b"a", b"e"):
            items = self._pop_mark() if code == b"e" else [self.stack.pop()]
            self._target(list).extend(items)
        elif code in (b"s", b"u"):
            items = self._pop_mark() if code == b"u" else [self.stack.pop(), self.stack.pop()][::-1]
            self._target(dict).update(_pairs(items))
        elif code == b"\x90":
            items = self._pop_mark()
            self._target(set).update(map(_hashable, items))
        else:
            return False
        return True

    def _build(self, code: bytes) -> bool:
        """Executes an opcode that builds an object from others. Returns False for other opcodes."""
        if code in TUPLES:
            self.stack[-TUPLES[code] :] = [tuple(self.stack[-TUPLES[code] :])]
        elif code == b"t":
            self.stack.append(tuple(self._pop_mark()))
        elif code == b"l":
            self.stack.append(self._pop_mark())
        elif code == b"d":
            self.stack.append(dict(_pairs(self._pop_mark())))
        elif code == b"\x91":
            self.stack.append(frozenset(map(_hashable, self._pop_mark())))
        elif code == b"c":
            self.stack.append(self.find(f"{self._line()}.{self._line()}"))
        elif code == b"\x93":
            name, module = self.stack.pop(), self.stack.pop()
            self.stack.append(self.find(f"{_text(module)}.{_text(name)}"))
        elif code in (b"R", b"\x81"):
            arguments, function = self.stack.pop(), self.stack.pop()
            self.stack.append(self.call(function, _tuple(arguments)))
        elif code == b"b":
            state = self.stack.pop()
            self.set_state(self.stack[-1], state)
        elif code == b"Q":
            self.stack.append(self.load_storage(self.stack.pop()))
        else:
            return False
        return True

    def _pop_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _target(self, container_type: type) -> Any:
        if not isinstance(self.stack[-1], container_type):
            raise RefusedPickleError(
                f"items for a {type(self.stack[-1]).__name__}, which is not a {container_type.__name__}"
            )
        return self.stack[-1]


def _pairs(items: list) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise RefusedPickleError("a key without a value")
    return [(_hashable(key), value) for key, value in zip(items[::2], items[1::2], strict=True)]


def _hashable(value: Any) -> Any:
    if type(value) is memoryview:
        return bytes(value)
    if type(value) not in KEYS:
        raise RefusedPickleError(f"a key of type {type(value).__name__}")
    return value


def _text(value: object) -> str:
    if type(value) is not str or len(value) > MAX_LINE:
        raise RefusedPickleError("a name that is not text or too long")
    return value


def _tuple(value: object) -> tuple:
    if type(value) is not tuple:
        raise RefusedPickleError("a call without arguments")
    return value
