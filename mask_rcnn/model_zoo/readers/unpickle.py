"""Reads checkpoints from pickles without running their code.

A pickle can call any function by its name. Here only the names in ALLOWED are accepted. Each name is mapped
to a harmless stand-in of this module, which checks its arguments and allocates nothing. `read` creates the
arrays.
"""

import math
import re

import numpy as np

from mask_rcnn.model_zoo.readers.bfloat16 import BFLOAT16, widen
from mask_rcnn.model_zoo.readers.pickle_interpreter import KEYS, Interpreter, RefusedPickleError

# Keys of the state dict in a checkpoint, in this order: torchvision and detectron2; Lightning and timm;
# PyTorch's tutorial; Caffe2.
NESTS = ("model", "state_dict", "model_state_dict", "blobs")

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
    """A pickle refers to something not in ALLOWED. The message names it. None of its code was run."""


class NoArraysError(ValueError):
    """A complete checkpoint has no state dict at the known places. The message lists its contents."""


class StandIn:
    """Base class of the objects that a pickle may create. A pickle may not set their attributes."""

    def __setstate__(self, state):
        raise UnsafePickleError(f"a change of {type(self).__name__}")


class Call(StandIn):
    """Stand-in for a function that a pickle may call."""

    def __init__(self, function):
        self.function = function


class Ignored(StandIn):
    """Stand-in for other objects that training scripts save: arguments, schedules, devices. Ignored."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class StateDict(dict, StandIn):
    """Stand-in for `OrderedDict`. Ignores the versions of modules that torch attaches to it."""

    def __init__(self, pairs=()):
        # Pickles of Python 2 contain the pairs as lists.
        _expect(isinstance(pairs, list | tuple), "an OrderedDict of pairs", pairs)
        for pair in pairs:
            _expect(isinstance(pair, list | tuple) and len(pair) == 2, "an OrderedDict of pairs", pair)
            _expect(type(pair[0]) in KEYS, "a scalar as key", pair[0])
            self[pair[0]] = pair[1]

    def __setstate__(self, state):
        pass


class Dtype(StandIn):
    """Stand-in for `numpy.dtype`. Accepts only real numbers."""

    def __init__(self, code, *flags):
        if not (isinstance(code, str) and DTYPE.fullmatch(code)):
            raise UnsafePickleError(
                f"arrays of dtype {code[:20]!r}" if isinstance(code, str) else "a strange dtype"
            )
        self.numpy = np.dtype(code)

    def __setstate__(self, state):
        _expect(
            isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "=", "|"), "a dtype", state
        )
        self.numpy = self.numpy.newbyteorder(state[1])


class Latin1(StandIn):
    """Stand-in for `_codecs.encode`, with which pickles of protocol 2 store bytes."""

    def __init__(self, text, encoding="latin1"):
        _expect(isinstance(text, str) and encoding == "latin1", "latin1 text", text)
        self.text = text


class Array(StandIn):
    """Stand-in for `numpy.ndarray`, which a pickle creates empty and then sets by its state."""

    def __init__(self, *empty):
        self.shape, self.nbytes = None, 0

    def __setstate__(self, state):
        _expect(isinstance(state, tuple) and len(state) == 5, "the state of an array", state)
        _, self.shape, dtype, self.is_fortran, self.data = state
        _check_sizes(self.shape)
        _expect(isinstance(dtype, Dtype), "the dtype of an array", dtype)
        _expect(isinstance(self.data, memoryview | str | Latin1), "the bytes of an array", self.data)
        self.dtype = dtype.numpy
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize

    def read(self):
        """Returns the NumPy array, which may be read-only."""
        _expect(self.shape is not None, "an array with contents", self)
        text = self.data.text if isinstance(self.data, Latin1) else self.data
        if len(text) != self.nbytes:
            raise ValueError(f"an array of {self.nbytes} bytes has {len(text)}")
        data = text.encode("latin1") if isinstance(text, str) else text
        return np.frombuffer(data, self.dtype).reshape(self.shape, order="F" if self.is_fortran else "C")


class Storage(StandIn):
    """Stand-in for a torch storage: a 1D array that several tensors may share. It is read on first use.

    Args:
        kind: Key of STORAGES.
        numel: Number of values.
        read_bytes: Function of the number of bytes that returns the bytes.
    """

    def __init__(self, kind, numel, read_bytes):
        _expect(isinstance(kind, str) and kind in STORAGES, "a known storage", kind)
        _check_sizes((numel,))
        self.kind, self.dtype, self.numel = kind, np.dtype(STORAGES[kind]), numel
        self.nbytes = numel * self.dtype.itemsize
        self.read_bytes = read_bytes
        self._values = None

    @property
    def values(self):
        if self._values is None:
            self._values = np.frombuffer(self.read_bytes(self.nbytes), self.dtype, self.numel)
        return self._values


class Tensor(StandIn):
    """Stand-in for `torch.Tensor`: a strided view of a storage."""

    def __init__(self, storage, offset, size, stride, *gradient_and_hooks):
        _expect(isinstance(storage, Storage), "a tensor with a storage", storage)
        for numbers in ((offset,), size, stride):
            _check_sizes(numbers)
        _expect(len(size) == len(stride), "a stride for each axis", stride)
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride
        # bfloat16 becomes float32
        self.nbytes = math.prod(size) * max(storage.dtype.itemsize, 4 if storage.dtype == BFLOAT16 else 1)

    def read(self):
        """Returns the NumPy array in C order. If it shares memory with others, it is read-only."""
        if math.prod(self.size) == 0:
            return widen(np.zeros(self.size, self.storage.dtype))
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if last >= self.storage.numel:
            raise ValueError(f"a tensor reaches to number {last} of a storage of {self.storage.numel}")
        steps = [step * self.storage.dtype.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(self.storage.values[self.offset :], self.size, steps)
        return widen(np.asarray(view, order="C"))


def _expect(condition, what, received):
    if not condition:
        raise RefusedPickleError(f"a {type(received).__name__} in place of {what}")


def _check_sizes(numbers):
    is_list = isinstance(numbers, tuple) and len(numbers) <= MAX_AXES
    _expect(is_list and all(type(each) is int for each in numbers), f"at most {MAX_AXES} sizes", numbers)
    if not all(0 <= each <= MAX_SIDE for each in numbers):
        raise ValueError("a size is negative or too large")


def _array_of_buffer(data, dtype, shape, order):
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype, data):
    return _array_of_buffer(data, dtype, (), "C")


def _parameter(data, *gradient_and_hooks):
    return data


ALLOWED = {
    **{name: name for name in STORAGES},  # only their names are used, in the persistent ids of storages
    "collections.OrderedDict": StateDict,
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_parameter": Call(_parameter),
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "_codecs.encode": Latin1,
    "collections.Counter": Ignored,
    "argparse.Namespace": Ignored,
    "pathlib.PosixPath": Ignored,
    "torch.Size": Ignored,
    "torch.device": Ignored,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    ALLOWED[f"{_core}.multiarray._reconstruct"] = Array
    ALLOWED[f"{_core}.multiarray.scalar"] = Call(_scalar)
    ALLOWED[f"{_core}.numeric._frombuffer"] = Call(_array_of_buffer)


def unpickler(buffer, storage=None):
    """Returns an `Interpreter` whose `load()` returns the object of the next pickle in a buffer.

    The objects are dicts, lists, strings, numbers, and stand-ins. The stand-ins of arrays have a method
    `read()` that returns the array.

    Args:
        buffer: memoryview of the bytes.
        storage: Function of torch's (kind, key, location, number of values, view) that returns a `Storage`.
            Defaults to None: a pickle with storages is rejected.
    """
    return Interpreter(buffer, _find, lambda pid: _load_storage(pid, storage), _call, _set_state)


def _find(name):
    if name not in ALLOWED:
        raise UnsafePickleError(f"`{name[:100]}`")
    return ALLOWED[name]


def _load_storage(pid, storage):
    if not (storage and isinstance(pid, tuple) and len(pid) > 4 and pid[0] == "storage"):
        raise UnsafePickleError("an object that is stored elsewhere")
    _expect(isinstance(pid[2], str), "the key of a storage", pid[2])
    return storage(*pid[1:])


def _call(function, arguments):
    if isinstance(function, Call):
        return function.function(*arguments)
    if isinstance(function, type) and issubclass(function, StandIn):
        return function(*arguments)
    raise UnsafePickleError(f"a call of a {type(function).__name__}")


def _set_state(target, state):
    if not isinstance(target, StandIn):
        raise UnsafePickleError(f"a change of a {type(target).__name__}")
    target.__setstate__(state)


def state_dict_of(tree, max_bytes):
    """Returns the arrays `{name: array}` of a pickle, from a key in NESTS or from the top level.

    Args:
        tree: Result of `unpickler(...).load()`.
        max_bytes: Maximum size of all arrays together, bytes. Checked before an array is read.

    Raises a NoArraysError if there are no arrays, a ValueError if they are too large or damaged.
    """
    found = tree
    for _ in NESTS:  # limited depth, because a pickle can contain itself
        found = next((found[key] for key in NESTS if isinstance(found, dict) and key in found), found)
    leaves = found.items() if isinstance(found, dict) else ()
    leaves = {name: leaf for name, leaf in leaves if isinstance(leaf, Array | Tensor) and type(name) is str}
    if not leaves:
        raise NoArraysError(_contents(tree))
    storages = {id(leaf.storage): leaf.storage.nbytes for leaf in leaves.values() if isinstance(leaf, Tensor)}
    total = max(sum(leaf.nbytes for leaf in leaves.values()), sum(storages.values()))
    if total > max_bytes:
        raise ValueError(f"its arrays take {total} bytes, at most {max_bytes} are allowed")
    return {name: leaf.read() for name, leaf in leaves.items()}


def _contents(tree):
    """Returns a short description of a pickle's contents, for the error about a missing state dict."""
    if not isinstance(tree, dict) or not tree:
        return "nothing" if not tree else f"a {type(tree).__name__}"
    return ", ".join(key[:40] if type(key) is str else type(key).__name__ for key in list(tree)[:12])
