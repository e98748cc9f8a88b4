"""Safe reading of untrusted HDF5 files: no access to other files, and no more memory than the file stores.

HDF5 can refer to other files (external storage, external links, virtual data sets), declare arrays that it
does not store, and load filters as plugins. All of this is rejected before any array is read.
"""

import contextlib
import math
import stat
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5o, h5t, h5z  # pyright: ignore[reportAttributeAccessIssue], compiled modules

from mask_rcnn.system.paths import AnyPath, local_path

MAX_ITEMS = 100_000  # groups and arrays in a file; a detector has about 500
MAX_DEPTH = 32  # nested groups
MAX_CHUNKS = 1_000_000  # per array
MIN_CHUNK_LIMIT = 1 << 20  # bytes; a chunk may be slightly larger than a small array
FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32)  # in the order that h5py uses
FLETCHER32_BYTES = 4
NUMBERS = (h5t.INTEGER, h5t.FLOAT, h5t.ENUM)  # h5py stores bool as an enum


def check_regular_file(path: Path, description: str) -> None:
    """Raises an error unless `path` is a regular file. Reading a pipe or device could block or never end.

    Args:
        path: `Path`.
        description: Description of the expected file for the message, such as "weights file".

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no {description} {path}.") from None
    except ValueError as error:  # a null character
        raise ValueError(
            f"The path of a {description} must be valid. Received: {str(path)!r} ({error}). Correct the path."
        ) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ValueError(
            f"Expected a {description}. Received: {path}, which is {kind}. Give the path of a file."
        )


def read_hdf5(
    path: AnyPath,
    check: Callable[[dict[str, tuple[tuple[int, ...], np.dtype]]], None] | None = None,
    max_bytes: int | None = None,
) -> dict[str, np.ndarray]:
    """Returns all numeric arrays of an HDF5 file.

    Args:
        path: Path of the file.
        check: Function that is called with `{name: (shape, dtype)}` before any array is read. It raises an
            exception if they are not as expected. Defaults to None.
        max_bytes: Maximum size of all arrays together, bytes. Defaults to the size of the file, which is
            enough for arrays without compression.

    Returns:
        `{"group/name": array}`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an HDF5 file, is damaged, refers to other files, is larger than `max_bytes`,
            or contains other data than numbers. The message names the file.
    """
    path = local_path(path)
    check_regular_file(path, "HDF5 file")
    with contextlib.ExitStack() as stack:
        with _named_errors(path):
            file = stack.enter_context(h5py.File(path, "r"))
            datasets = _list_datasets(file)
            size = path.stat().st_size
            for name, dataset in datasets.items():
                _check_storage(name, dataset, size)
            _check_total(datasets, size if max_bytes is None else max_bytes)
        if check is not None:
            check({name: (dataset.shape, dataset.dtype) for name, dataset in datasets.items()})
        with _named_errors(path):
            return {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}


def read_texts(path: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Returns string attributes of an HDF5 file.

    Args:
        path: Path of the file.
        names: Names of the attributes.

    Returns:
        Tuple of strings.

    Raises:
        ValueError: If an attribute is missing or is not a string. The message names the file.
    """
    with _named_errors(path), h5py.File(path, "r") as file:
        return tuple(_read_text(file, name) for name in names)


@contextlib.contextmanager
def _named_errors(path):
    """Converts every exception of the HDF5 library to a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"Expected a complete HDF5 file of arrays of numbers. Received: {path} "
            f"({' '.join(str(error).split())[:200]}). Save or download it again."
        ) from error


def _read_text(file, name):
    if name not in file.attrs:
        raise ValueError(f"it has no attribute {name!r}")
    attribute = file.attrs.get_id(name)
    if attribute.shape != () or attribute.get_type().get_class() != h5t.STRING:
        raise ValueError(f"its attribute {name!r} is not a string")
    value = file.attrs[name]
    return value if isinstance(value, str) else value.decode("utf-8")


def _list_datasets(file):
    """Returns `{"group/name": h5py.Dataset}`. Raises a ValueError if the file contains a link."""
    datasets, seen = {}, {h5o.get_info(file.id).addr}
    groups = [("", file, 1)]
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            item = _open_item(group, name, full_name=f"{prefix}{name}", seen=seen)
            if len(seen) > MAX_ITEMS or depth > MAX_DEPTH:
                raise ValueError(f"more than {MAX_ITEMS} items, or groups deeper than {MAX_DEPTH}")
            if isinstance(item, h5py.Group):
                groups.append((f"{prefix}{name}/", item, depth + 1))
            else:
                datasets[f"{prefix}{name}"] = item
    return datasets


def _open_item(group, name, *, full_name, seen):
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{full_name[:80]!r} is a link to another location")
    item = group[name]
    if not isinstance(item, h5py.Group | h5py.Dataset):
        raise ValueError(f"{full_name[:80]!r} is neither a group nor an array")
    address = h5o.get_info(item.id).addr
    if address in seen:
        raise ValueError(f"{full_name[:80]!r} is a second name of another item in the file")
    seen.add(address)
    return item


def _check_storage(name, dataset, file_size):
    """Raises a ValueError unless the file itself stores all numbers of an array."""
    properties = dataset.id.get_create_plist()
    if properties.get_external_count() or properties.get_layout() == h5d.VIRTUAL:
        raise ValueError(f"the values of {name[:80]!r} are in another file")
    if dataset.id.get_type().get_class() not in NUMBERS or dataset.dtype.kind not in "biuf":
        raise ValueError(f"{name[:80]!r} does not contain real numbers")
    if dataset.shape is None:
        raise ValueError(f"{name[:80]!r} has no shape")
    stored = dataset.id.get_storage_size()
    if stored > file_size:
        raise ValueError(f"{name[:80]!r} declares {stored} bytes in a file of {file_size}")
    if properties.get_layout() == h5d.CHUNKED:
        _check_chunks(name, dataset, properties)
    elif stored != _bytes_of(dataset):
        raise ValueError(f"{name[:80]!r} has {stored} bytes instead of {_bytes_of(dataset)}")


def _check_chunks(name, dataset, properties):
    """Raises a ValueError unless every chunk is stored and has the declared size.

    HDF5 itself decompresses chunks without a limit, to 1000 times their size, and fills missing chunks.
    """
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if filters != [each for each in FILTERS if each in filters]:
        raise ValueError(f"{name[:80]!r} uses another compression than gzip (`h5repack -f GZIP=1`)")
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if chunk_bytes > max(2 * _bytes_of(dataset), MIN_CHUNK_LIMIT):
        raise ValueError(f"{name[:80]!r} has chunks of {chunk_bytes} bytes, more than the whole array")
    count = math.prod(-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if count > MAX_CHUNKS or dataset.id.get_num_chunks() != count:
        raise ValueError(f"{name[:80]!r} does not store all of its {count} chunks, or has too many")
    chunks = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        _, stored = dataset.id.read_direct_chunk(chunk.chunk_offset)
        if h5z.FILTER_FLETCHER32 in filters:
            stored = stored[:-FLETCHER32_BYTES]
        if h5z.FILTER_DEFLATE in filters:
            stored = zlib.decompressobj().decompress(stored, chunk_bytes + 1)
        if chunk.filter_mask or len(stored) != chunk_bytes:
            raise ValueError(f"a chunk of {name[:80]!r} is not {chunk_bytes} bytes long")


def _check_total(datasets, max_bytes):
    total = sum(map(_bytes_of, datasets.values()))
    if total > max_bytes:
        raise ValueError(f"its arrays take {total} bytes, at most {max_bytes} are allowed")


def _bytes_of(dataset):
    return math.prod(dataset.shape) * dataset.dtype.itemsize
