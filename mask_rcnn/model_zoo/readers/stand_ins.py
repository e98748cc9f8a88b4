"""Stand-ins for the objects that a pickled checkpoint may create.

They check their arguments, and allocate nothing. `read` of `Array` and `Tensor` creates the arrays.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mask_rcnn.model_zoo.readers.bfloat16 import BFLOAT16, widen
from mask_rcnn.model_zoo.readers.pickle_interpreter import KEYS, RefusedPickleError

STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}

MAX_AXES = 8
MAX_SIDE = 1 << 40
DTYPE = re.compile(r"[biuf]\d{1,2}")


class UnsafePickleError(ValueError):
    """A pickle refers to something that is not allowed. The message names it. None of its code was run."""


class StandIn:
    """Base class of the objects that a pickle may create. A pickle may not set their attributes."""

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError(f"a change of {type(self).__name__}")


class Call(StandIn):
    """Stand-in for a function that a pickle may call."""

    def __init__(self, function: Callable[..., object]):
        self.function = function


class Ignored(StandIn):
    """Stand-in for other objects that training scripts save: arguments, schedules, devices. Ignored."""

    def __init__(self, *args: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


class StateDict(dict, StandIn):
    """Stand-in for `OrderedDict`. Ignores the versions of modules that torch attaches to it."""

    def __init__(self, pairs: Iterable = ()):
        # Pickles of Python 2 contain the pairs as lists.
        _expect(isinstance(pairs, list | tuple), "an OrderedDict of pairs", pairs)
        for pair in pairs:
            _expect(isinstance(pair, list | tuple) and len(pair) == 2, "an OrderedDict of pairs", pair)
            _expect(type(pair[0]) in KEYS, "a scalar as key", pair[0])
            self[pair[0]] = pair[1]

    def __setstate__(self, state: object) -> None:
        pass


class Dtype(StandIn):
    """Stand-in for `numpy.dtype`. Accepts only real numbers."""

    def __init__(self, code: object, *flags: object):
        if not (isinstance(code, str) and DTYPE.fullmatch(code)):
            raise UnsafePickleError(
                f"arrays of dtype {code[:20]!r}" if isinstance(code, str) else "a strange dtype"
            )
        self.numpy = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        orders = ("<", ">", "=", "|")
        _expect(isinstance(state, tuple) and state[1:2] in [(order,) for order in orders], "a dtype", state)
        self.numpy = self.numpy.newbyteorder(state[1])


class Latin1(StandIn):
    """Stand-in for `_codecs.encode`, with which pickles of protocol 2 store bytes."""

    def __init__(self, text: str, encoding: str = "latin1"):
        _expect(isinstance(text, str) and encoding == "latin1", "latin1 text", text)
        self.text = text


class Array(StandIn):
    """Stand-in for `numpy.ndarray`, which a pickle creates empty and then sets by its state."""

    def __init__(self, *empty: object):
        self.shape: tuple[int, ...] | None = None
        self.nbytes = 0

    def __setstate__(self, state: Any) -> None:
        _expect(isinstance(state, tuple) and len(state) == 5, "the state of an array", state)
        _, shape, dtype, self.is_fortran, self.data = state
        _check_sizes(shape)
        _expect(isinstance(dtype, Dtype), "the dtype of an array", dtype)
        _expect(isinstance(self.data, memoryview | str | Latin1), "the bytes of an array", self.data)
        self.shape, self.dtype = shape, dtype.numpy
        self.nbytes = math.prod(shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Returns the NumPy array, which may be read-only."""
        if self.shape is None:
            raise RefusedPickleError("an Array in place of an array with contents")
        text = self.data.text if isinstance(self.data, Latin1) else self.data
        if len(text) != self.nbytes:
            raise ValueError(f"an array of {self.nbytes} bytes has {len(text)}")
        data = text.encode("latin1") if isinstance(text, str) else text
        return np.frombuffer(data, self.dtype).reshape(self.shape, order="F" if self.is_fortran else "C")


class Storage(StandIn):
    """Stand-in for a torch storage: a 1D array that several tensors may share. It is read on first use.

    Args:
        storage_type: Key of STORAGES.
        numel: Number of values.
        read_bytes: Function of the number of bytes that returns the bytes.
    """

    def __init__(self, storage_type: str, numel: int, read_bytes: Callable[[int], bytes | memoryview]):
        _expect(isinstance(storage_type, str) and storage_type in STORAGES, "a known storage", storage_type)
        _check_sizes((numel,))
        self.storage_type, self.dtype, self.numel = storage_type, np.dtype(STORAGES[storage_type]), numel
        self.nbytes = numel * self.dtype.itemsize
        self.read_bytes = read_bytes
        self._values: np.ndarray | None = None

    @property
    def values(self) -> np.ndarray:
        """The values of the storage, `[numel]`."""
        if self._values is None:
            self._values = np.frombuffer(self.read_bytes(self.nbytes), self.dtype, self.numel)
        return self._values


class Tensor(StandIn):
    """Stand-in for `torch.Tensor`: a strided view of a storage."""

    def __init__(
        self, storage: Storage, offset: int, size: tuple, stride: tuple, *gradient_and_hooks: object
    ):
        _expect(isinstance(storage, Storage), "a tensor with a storage", storage)
        for numbers in ((offset,), size, stride):
            _check_sizes(numbers)
        _expect(len(size) == len(stride), "a stride for each axis", stride)
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride
        # bfloat16 becomes float32
        self.nbytes = math.prod(size) * max(storage.dtype.itemsize, 4 if storage.dtype == BFLOAT16 else 1)

    def read(self) -> np.ndarray:
        """Returns the NumPy array in C order. If it shares memory with others, it is read-only."""
        if math.prod(self.size) == 0:
            return widen(np.zeros(self.size, self.storage.dtype))
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if last >= self.storage.numel:
            raise ValueError(f"a tensor reaches to number {last} of a storage of {self.storage.numel}")
        steps = [step * self.storage.dtype.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(self.storage.values[self.offset :], self.size, steps)
        return widen(np.asarray(view, order="C"))


def _expect(condition: bool, expected: str, received: object) -> None:
    """Raises a RefusedPickleError that names what was expected, unless a condition is true."""
    if not condition:
        raise RefusedPickleError(f"a {type(received).__name__} in place of {expected}")


def _check_sizes(numbers: Any) -> None:
    is_list = isinstance(numbers, tuple) and len(numbers) <= MAX_AXES
    _expect(is_list and all(type(number) is int for number in numbers), f"at most {MAX_AXES} sizes", numbers)
    if not all(0 <= number <= MAX_SIDE for number in numbers):
        raise ValueError("a size is negative or too large")
