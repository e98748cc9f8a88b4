"""Reads checkpoints from pickles without running their code.

A pickle can call any function by its name. Here only the names in ALLOWED are accepted. Each name is mapped
to a harmless object of the module `stand_ins`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mask_rcnn.model_zoo.readers.pickle_interpreter import Interpreter, RefusedPickleError
from mask_rcnn.model_zoo.readers.stand_ins import (
    STORAGES,
    Array,
    Call,
    Dtype,
    Ignored,
    Latin1,
    StandIn,
    StateDict,
    Storage,
    Tensor,
    UnsafePickleError,
)

# Keys of the state dict in a checkpoint, in this order: torchvision and detectron2; Lightning and timm;
# PyTorch's tutorial; Caffe2.
NESTS = ("model", "state_dict", "model_state_dict", "blobs")


class NoArraysError(ValueError):
    """A complete checkpoint has no state dict at the known places. The message lists its contents."""


def _array_of_buffer(data: object, dtype: object, shape: object, order: object) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: object, data: object) -> Array:
    return _array_of_buffer(data, dtype, (), "C")


def _parameter(data: object, *gradient_and_hooks: object) -> object:
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


def unpickler(buffer: memoryview, storage: Callable[..., Storage] | None = None) -> Interpreter:
    """Returns an `Interpreter` whose `load()` returns the object of the next pickle in a buffer.

    The objects are dicts, lists, strings, numbers, and stand-ins. The stand-ins of arrays have a method
    `read()` that returns the array.

    Args:
        buffer: memoryview of the bytes.
        storage: Function of torch's (storage type, key, location, number of values, view) that returns a
            `Storage`. Defaults to None: a pickle with storages is rejected.
    """
    return Interpreter(
        buffer,
        find=_find,
        load_storage=lambda pid: _load_storage(pid, storage),
        call=_call,
        set_state=_set_state,
    )


def _find(name: str) -> object:
    if name not in ALLOWED:
        raise UnsafePickleError(f"`{name[:100]}`")
    return ALLOWED[name]


def _load_storage(pid: Any, storage: Callable[..., Storage] | None) -> Storage:
    if not (storage and isinstance(pid, tuple) and len(pid) > 4 and pid[0] == "storage"):
        raise UnsafePickleError("an object that is stored elsewhere")
    if not isinstance(pid[2], str):
        raise RefusedPickleError(f"a {type(pid[2]).__name__} in place of the key of a storage")
    return storage(*pid[1:])


def _call(function: object, arguments: tuple) -> object:
    if isinstance(function, Call):
        return function.function(*arguments)
    if isinstance(function, type) and issubclass(function, StandIn):
        return function(*arguments)
    raise UnsafePickleError(f"a call of a {type(function).__name__}")


def _set_state(target: object, state: object) -> None:
    if not isinstance(target, StandIn):
        raise UnsafePickleError(f"a change of a {type(target).__name__}")
    target.__setstate__(state)


def state_dict_of(tree: object, max_bytes: int) -> dict[str, np.ndarray]:
    """Returns the arrays `{name: array}` of a pickle, from a key in NESTS or from the top level.

    Args:
        tree: Result of `unpickler(...).load()`.
        max_bytes: Maximum size of all arrays together, bytes. Checked before an array is read.

    Raises:
        NoArraysError: If there are no arrays.
        ValueError: If they are too large or damaged.
    """
    state_dict = tree
    for _ in NESTS:  # limited depth, because a pickle can contain itself
        nested = [state_dict[key] for key in NESTS if isinstance(state_dict, dict) and key in state_dict]
        state_dict = nested[0] if nested else state_dict
    items = state_dict.items() if isinstance(state_dict, dict) else ()
    leaves = {name: leaf for name, leaf in items if isinstance(leaf, Array | Tensor) and type(name) is str}
    if not leaves:
        raise NoArraysError(_contents(tree))
    storages = {id(leaf.storage): leaf.storage.nbytes for leaf in leaves.values() if isinstance(leaf, Tensor)}
    total = max(sum(leaf.nbytes for leaf in leaves.values()), sum(storages.values()))
    if total > max_bytes:
        raise ValueError(f"its arrays take {total} bytes, at most {max_bytes} are allowed")
    return {name: leaf.read() for name, leaf in leaves.items()}


def _contents(tree: object) -> str:
    """Returns a short description of a pickle's contents, for the error about a missing state dict."""
    if not isinstance(tree, dict) or not tree:
        return "nothing" if not tree else f"a {type(tree).__name__}"
    return ", ".join(key[:40] if type(key) is str else type(key).__name__ for key in list(tree)[:12])
