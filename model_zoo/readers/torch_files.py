"""Files of `torch.save`, read without PyTorch: the zip archive (since 1.6) and the older chain of pickles."""

import os
import struct
import zipfile

from mask_rcnn.model_zoo.readers.unpickle import Storage, state_dict_of, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format


def pickle_name(names):
    """Returns which of the names in a zip archive is torch's pickle, None if it is no archive of torch's."""
    return next((name for name in names if name.endswith("/data.pkl")), None)


def read_zip(path):
    """Returns the state dict of an archive: `NAME/data.pkl`, and each storage as `NAME/data/KEY`."""
    with zipfile.ZipFile(path) as archive:
        prefix = pickle_name(archive.namelist()).removesuffix("data.pkl")
        if f"{prefix}byteorder" in archive.namelist() and archive.read(f"{prefix}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        storages = {}

        def storage(kind, key, location, numel):
            return storages.setdefault(key, Storage(kind, numel, lambda: archive.read(f"{prefix}data/{key}")))

        with archive.open(f"{prefix}data.pkl") as file:
            tree = unpickle(file, storage)
        return state_dict_of(tree)


def read_legacy(file):
    """Returns the state dict of the older format.

    After the magic number come four pickles: the version, facts about the machine, the object and the keys
    of its storages; then for each key the number of values, int64, and the values.

    Args:
        file: open binary file that stands behind the magic number.
    """
    unpickle(file)
    if not unpickle(file)["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    storages, places = {}, {}

    def storage(kind, key, location, numel, view):
        if view is not None:
            raise ValueError("its storages are views of each other, as PyTorch wrote them before 0.4")
        return storages.setdefault(key, Storage(kind, numel, lambda: _read(file, *places[key])))

    tree = unpickle(file, storage)
    for key in unpickle(file):
        (numel,) = struct.unpack("<q", file.read(8))
        length = numel * storages[key].dtype.itemsize
        places[key] = (file.tell(), length)
        file.seek(length, os.SEEK_CUR)
    return state_dict_of(tree)


def _read(file, offset, length):
    file.seek(offset)
    return file.read(length)
