"""Pickles read without running them.

A pickle may call whatever it can name. Here it can name only what is on ALLOWED, and each entry there is an
inert stand-in of ours.
"""

import functools
import math
import pickle
import re

import numpy as np

from mask_rcnn.model_zoo.readers.bfloat16 import BFLOAT16, widen

# Where a checkpoint keeps its state dict: torchvision and detectron2; Lightning and timm; PyTorch's own
# tutorial; Caffe2.
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


class UnsafePickleError(ValueError):
    """A pickle asks for what is not on ALLOWED; its text says for what. Nothing of it was run."""


class NoArraysError(ValueError):
    """A checkpoint is whole, but no state dict is where one is looked for; its text says what is there."""


class StandIn:
    """What a pickle may make. It may not set attributes, of the class or of an object."""

    def __setstate__(self, state):
        raise UnsafePickleError(f"a change of {type(self).__name__}")


class Call(StandIn):
    """Stands for a function that a pickle may call."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


class Ignored(StandIn):
    """Stands for what training scripts keep beside the weights: arguments, schedules, devices."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class StateDict(dict, StandIn):
    """Stands for `OrderedDict`, without the versions of modules that torch attaches to it."""

    def __setstate__(self, state):
        pass


class Dtype(StandIn):
    """Stands for `numpy.dtype`: numbers and strings, no Python objects."""

    def __init__(self, code, *flags):
        if not re.fullmatch(r"[biufcSU]\d+", code):
            raise UnsafePickleError(f"arrays of dtype {code!r}")
        self.numpy = np.dtype(code)

    def __setstate__(self, state):
        self.numpy = self.numpy.newbyteorder(state[1])


class Array(StandIn):
    """Stands for `numpy.ndarray`, which a pickle makes empty and then fills."""

    def __init__(self, *empty):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, data = state
        data = _encode(data) if isinstance(data, str) else data
        self.value = np.frombuffer(data, dtype.numpy).reshape(shape, order="F" if is_fortran else "C")

    def read(self):
        return self.value


class Storage(StandIn):
    """Stands for a torch storage: a run of numbers that several tensors may share, read when first needed.

    Args:
        kind: a key of STORAGES.
        numel: how many numbers there are.
        read_bytes: function without arguments that gives them.
    """

    def __init__(self, kind, numel, read_bytes):
        self.dtype = np.dtype(STORAGES[kind])
        self.numel = numel
        self.read_bytes = read_bytes

    @functools.cached_property
    def values(self):
        return np.frombuffer(self.read_bytes(), self.dtype, self.numel)  # an error if there are fewer


class Tensor(StandIn):
    """Stands for `torch.Tensor`: a strided view of a storage."""

    def __init__(self, storage, offset, size, stride, *gradient_and_hooks):
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def read(self):
        """Returns the array, in C order; it may share the memory of others and is read-only then."""
        if math.prod(self.size) == 0:
            return widen(np.zeros(self.size, self.storage.dtype))
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if min(self.offset, *self.size, *self.stride, 0) < 0 or last >= self.storage.numel:
            raise ValueError(f"a tensor reaches to number {last} of a storage of {self.storage.numel}")
        steps = [step * self.storage.dtype.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(self.storage.values[self.offset :], self.size, steps)
        return widen(np.asarray(view, order="C"))


def _array_of_buffer(data, dtype, shape, order):
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype, data):
    return _array_of_buffer(data, dtype, (), "C")


def _encode(text, encoding="latin1"):
    # How a pickle of Python 2, or of protocol 2, holds bytes.
    if encoding != "latin1":
        raise UnsafePickleError(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _parameter(data, *gradient_and_hooks):
    return data


ALLOWED = {
    **{name: name for name in STORAGES},  # they are only named, in the ids of storages
    "collections.OrderedDict": StateDict,
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_parameter": Call(_parameter),
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "_codecs.encode": Call(_encode),
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


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, storage):
        super().__init__(file, encoding="latin1")
        self._storage = storage

    def find_class(self, module, name):
        wanted = f"{module}.{name}"
        if wanted not in ALLOWED:
            raise UnsafePickleError(f"`{wanted}`")
        return ALLOWED[wanted]

    def persistent_load(self, pid):
        kind, *rest = pid
        if kind != "storage":
            raise UnsafePickleError(f"an object of kind {kind!r}")
        return self._storage(*rest)


def unpickle(file, storage=None):
    """Reads one pickle from an open file.

    Args:
        file: binary file; it stands behind the pickle afterwards.
        storage: makes a `Storage` of torch's (kind, key, location, number of values, view).

    Returns:
        Dicts, lists, strings, numbers and, for arrays, objects whose `read()` gives one.

    Raises:
        UnsafePickleError: it asks for something that is not on ALLOWED.
        Exception: a damaged pickle can raise nearly anything.
    """
    return _Unpickler(file, storage).load()


def state_dict_of(tree):
    """Returns the arrays `{name: array}` of what `unpickle` gave, found under one of NESTS or at the top."""
    found = tree
    for _ in NESTS:  # no deeper: a pickle can contain itself
        found = next((found[key] for key in NESTS if isinstance(found, dict) and key in found), found)
    leaves = found.items() if isinstance(found, dict) else ()
    arrays = {str(name): leaf.read() for name, leaf in leaves if isinstance(leaf, (Array, Tensor))}
    if not arrays:
        held = ", ".join(map(str, list(tree)[:12])) if isinstance(tree, dict) else type(tree).__name__
        raise NoArraysError(held or "nothing")
    return arrays
