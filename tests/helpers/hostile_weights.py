"""Loads damaged and hostile weights files: `python hostile_weights.py FOLDER COUNT FORMAT...`.

Prints one JSON line per file: format, name of the damage, outcome, seconds, memory growth in MB. Outcomes:

- "equal": loaded, with every value as written.
- "changed": loaded with another value.
- "refused": a ValueError or OSError that names the file.
- The name of any other exception or signal.

The files are seeded: they are the same in each run.
"""

import io
import json
import logging
import os
import pickle
import random
import signal
import struct
import sys
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np

SEED = 20240917
RNG = np.random.default_rng(SEED)
ARRAYS = {
    "backbone/stem/kernel": RNG.normal(size=(3, 3, 3, 8)).astype("float32"),
    "box_head/fc1/kernel": RNG.normal(size=(16, 12)).astype("float32"),
    "box_head/fc1/bias": RNG.normal(size=12).astype("float32"),
}
NAME = "box_head/fc1/kernel"
CHECKSUMMED = ("weights", "checkpoint", "npz", "torch_zip")
FORMATS = (*CHECKSUMMED, "h5", "safetensors", "pkl", "torch_legacy")
MAX_SECONDS = 10
TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
GIGABYTE = 1 << 30


class Variable:
    """A stand-in for a Keras variable, without TensorFlow."""

    def __init__(self, path, value):
        self.path, self.value, self.shape, self.dtype = path, value, value.shape, str(value.dtype)

    def __array__(self, dtype=None, copy=None):
        return self.value

    def assign(self, value):
        self.value = np.asarray(value).astype(self.value.dtype).reshape(self.shape)


class Model:
    """A stand-in for a compiled Keras model."""

    def __init__(self, arrays):
        self.variables = [Variable(name, array) for name, array in arrays.items()]
        self.optimizer = type("Optimizer", (), {"variables": [Variable("step", np.array(7))]})


def tensor_pickle(storage_size=None, **sizes):
    """Returns torch's pickle of ARRAYS. Storages are named by number."""
    out = [b"\x80\x02}q\x00("]
    for index, (name, array) in enumerate(ARRAYS.items()):
        numel = storage_size or array.size
        stride = [step // 4 for step in array.strides]
        shape = sizes.get("size", array.shape)
        out += [
            b"X" + struct.pack("<I", len(name)) + name.encode(),
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0",
            str(index).encode() + b"X\x03\0\0\0cpu" + _int(numel),
        ]
        out += [b"NtQ" if sizes.get("view") else b"tQ", b"K\0"]
        out += [b"(" + b"".join(map(_int, shape)) + b"t", b"(" + b"".join(map(_int, stride)) + b"t"]
        out += [b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join(out) + b"u."


def _int(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def write_base(path, kind):
    """Writes ARRAYS to an undamaged file."""
    if kind == "weights":
        from mask_rcnn.config import Config
        from mask_rcnn.structures import Category
        from mask_rcnn.weights import write_arrays

        write_arrays(path, ARRAYS, Config(num_classes=1), categories=(Category(1, "cat"),))
    elif kind == "checkpoint":
        from mask_rcnn.training.checkpoint import save_checkpoint

        for step in (1, 2):
            save_checkpoint(path.parent, Model(ARRAYS), {"step": step}, keep=2)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            for name, array in ARRAYS.items():
                file.create_dataset(name, data=array, compression="gzip" if array.ndim == 2 else None)
    elif kind == "npz":
        np.savez_compressed(path, **ARRAYS)
    elif kind == "safetensors":
        header, data = {}, b""
        for name, array in ARRAYS.items():
            offsets = [len(data), len(data) + array.nbytes]
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
            data += array.tobytes()
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps({"model": ARRAYS}, 4))
    elif kind == "torch_zip":
        write_torch_zip(path, tensor_pickle())
    else:
        path.write_bytes(torch_legacy(tensor_pickle()))


def write_torch_zip(path, pickled, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for index, array in enumerate(ARRAYS.values()):
            archive.writestr(f"archive/data/{index}", array.tobytes())


def torch_legacy(pickled):
    parts = [TORCH_LEGACY_MAGIC, 1001, {"little_endian": True}]
    out = b"".join(pickle.dumps(part, 2) for part in parts) + pickled
    out += pickle.dumps([str(index) for index in range(len(ARRAYS))], 2)
    return out + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in ARRAYS.values())


def load(path, kind):
    """Returns all arrays that a model would get from a file."""
    if kind == "checkpoint":
        from mask_rcnn.training.checkpoint import restore_latest

        model = Model({name: np.zeros_like(array) for name, array in ARRAYS.items()})
        state = restore_latest(path.parent, model)
        if state is None or state.get("step") not in (1, 2):
            return {}
        return dict(zip(ARRAYS, [variable.value for variable in model.variables], strict=True))
    if kind == "weights":
        from mask_rcnn import weights

        header = weights.read_header(path)
        if (header[0].num_classes, header[1][0].name, len(header[1])) != (1, "cat", 1):
            return {}
        arrays = weights.read_arrays(path)
    else:
        from mask_rcnn.model_zoo import readers

        arrays = readers.read_state_dict(path, *limit(readers))
    return fit(arrays, path)


def limit(readers):
    """Returns the size limit that a model sets, or nothing in versions without `bytes_for`."""
    return (
        [readers.bytes_for(array.shape for array in ARRAYS.values())] if hasattr(readers, "bytes_for") else []
    )


def fit(arrays, path):
    """Returns `arrays` after the checks that `assign_variables` makes."""
    from mask_rcnn import weights

    if not hasattr(weights, "check_values"):  # earlier versions do not have it
        weights.check_fit({name: array.shape for name, array in ARRAYS.items()}, arrays, path)
        return arrays
    shapes = {name: array.shape for name, array in arrays.items()}
    weights.check_fit({name: array.shape for name, array in ARRAYS.items()}, shapes, path)
    weights.check_values(arrays, path)
    return arrays


def seal(path, kind):
    """Gives a modified file the correct checksum, as an attacker can."""
    try:
        from mask_rcnn.system import verified_hdf5
    except ImportError:
        return
    text = {"weights": "mask_rcnn weights 2", "checkpoint": "mask_rcnn checkpoint 3"}[kind]
    with open(path, "r+b") as file:
        label = verified_hdf5._label(text, file)
        file.seek(0)
        file.write(label)


def damage_bytes(content, rng, protected=()):
    """Returns `content` with one random damage outside the `protected` ranges, and the name of the damage."""
    for _ in range(1000):
        at, size = rng.randrange(len(content)), rng.choice([1, 1, 1, 2, 8, 64])
        if not any(start < at + size and at < stop for start, stop in protected):
            break
    match rng.randrange(6 if not protected else 4):
        case 0:
            bit = bytes([content[at] ^ (1 << rng.randrange(8))])
            return content[:at] + bit + content[at + 1 :], f"bit at {at}"
        case 1:
            return content[:at] + rng.randbytes(size) + content[at + size :], f"{size} random bytes at {at}"
        case 2:
            fill = rng.choice([b"\0", b"\xff", b"\x7f"]) * size
            return content[:at] + fill + content[at + size :], f"{size} equal bytes at {at}"
        case 3:
            return content[:at], f"cut at {at}"
        case 4:
            return content[:at] + content[at + size :], f"{size} bytes gone at {at}"
        case _:
            return content[:at] + content[at : at + size] + content[at:], f"{size} bytes doubled at {at}"


def hdf5_attacks(secret):
    """Returns `{name: function of an open h5py.File}`."""

    def replace(make):
        def change(file):
            del file[name_in(file)]
            make(file, name_in_default(file))

        return change

    def external(target):
        return replace(lambda f, n: f.create_dataset(n, (16, 12), "f4", external=[(str(target), 0, 768)]))

    def virtual(file, name):
        layout = h5py.VirtualLayout((16, 12), "f4")
        layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "secret", (16, 12))
        file.create_virtual_dataset(name, layout)

    def bomb(file, name):
        dataset = file.create_dataset(name, (16, 12), "f4", chunks=(16, 12), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(GIGABYTE), 1))

    def set_link(link):
        return replace(lambda f, n: f.__setitem__(n, link))

    def put(value, **options):
        return replace(lambda f, n: f.create_dataset(n, data=value, **options))

    def poison(number):
        def change(file):
            file[name_in(file)][3, 3] = number

        return change

    def declare(shape, **options):
        return replace(lambda f, n: f.create_dataset(n, shape, "f4", **options))

    def nest(file):
        group = file
        for _ in range(500):
            group = group.create_group("g")

    return {
        "external storage": external(secret),
        "external /dev/zero": external("/dev/zero"),
        "external pipe": external(secret.with_suffix(".pipe")),
        "virtual": replace(virtual),
        "external link": set_link(h5py.ExternalLink(str(secret.with_suffix(".h5")), "secret")),
        "soft link": set_link(h5py.SoftLink("/backbone/stem/kernel")),
        "cycle": lambda file: file.__setitem__("loop", file["/"]),
        "deep": nest,
        "gzip bomb": replace(bomb),
        "declared 6 GB": declare((1 << 20, 1 << 10, 2)),
        "declared 6 GB in chunks": declare((1 << 20, 1 << 10, 2), chunks=(1024, 1024, 1)),
        "declared in one chunk": declare((16, 12), chunks=(16, 12), maxshape=(None, None), fillvalue=1.0),
        "never written": declare((16, 12)),
        "NaN": poison(np.nan),
        "infinite": poison(-np.inf),
        "float64 of 1e300": put(np.full((16, 12), 1e300)),
        "complex": put(np.ones((16, 12), "complex64")),
        "text": put(np.full((16, 12), b"a")),
        "objects": put(np.full((16, 12), "a", object), dtype=h5py.string_dtype()),
        "ints": put(np.ones((16, 12), "int32")),
        "compound": put(np.zeros((16, 12), [("a", "f4"), ("b", "i4")])),
        "empty": put(h5py.Empty("f4")),
        "other shape": put(np.ones((12, 16), "f4")),
        "missing": lambda file: file.__delitem__(name_in(file)),
        "one more": lambda file: file.__setitem__("box_head/fc9", np.ones(3)),
    }


def name_in(file):
    return NAME if NAME in file else f"model/{NAME}"


def name_in_default(file):
    return NAME if "box_head" in file else f"model/{NAME}"


def header_attacks(kind):
    texts = [
        "",
        "null",
        "[]",
        "{}",
        "[" * 50_000,
        "NaN",
        "1e999",
        '{"step": -1}',
        '{"step": true}',
        '"a"',
        "\x1b[2J",
    ]
    if kind == "checkpoint":
        return [("state", text) for text in [*texts, '{"step": 1e999}', '{"steps": 2}']]
    entry = '{"id": 1, "name": "cat", "keypoints": [], "skeleton": []}'
    changes = [('"cat"', "7"), ('"cat"', "null"), ('"cat"', '""'), (": 1,", ": true,"), (": 1,", ': "1",')]
    changes += [("[], ", '["a", 3], '), ('"skeleton": []', '"skeleton": [[1, 2]]'), ('"id"', '"ID"')]
    categories = [*texts, f"[{entry}, {entry}]", *[f"[{entry.replace(*change)}]" for change in changes]]
    configs = [
        *texts[3:],
        "/etc/passwd.yaml",
        "a: &a [1]\nb: *a",
        "num_classes: 1\nnum_classes: 1",
        "num_classes: 2",
    ]
    configs += [
        "num_classes: .nan",
        "rpn: {nms_iou: .inf}",
        "train: {batch_size: -1}",
        "!!python/name:os.system a",
    ]
    return [("categories", text) for text in categories] + [("config", text) for text in configs]


def pickle_attacks():
    """Returns `{name: bytes}` of pickles."""
    array = pickle.dumps(ARRAYS[NAME], 4)[2:-1]
    start, key = b"\x80\x04}\x8c\x05model}\x8c\x01w", b"\x80\x04}"
    nested = b"\x80\x02}" + b")" + b"\x85" * 200_000
    doubled = b"\x80\x02})q\0" + b"".join(b"h\0h\0\x86q\0" for _ in range(40))
    frame = array.index(b"cnumpy") if b"cnumpy" in array else 0
    return {
        "memo of 4 GB": b"\x80\x02}r\xff\xff\xff\x7f.",
        "bytearray of 4 GB": b"\x80\x05\x96\0\0\0\0\x01\0\0\0.",
        "bytes of 4 GB": b"\x80\x04\x8e\0\0\0\0\x01\0\0\0.",
        "text of 2 GB": b"\x80\x02X\xff\xff\xff\x7f.",
        "frame of 4 GB": b"\x80\x04\x95\0\0\0\0\x01\0\0\0N.",
        "int of 1 MB": b"\x80\x02\x8b\0\0\x10\0" + b"\xff" * (1 << 20) + b".",
        "decimal int": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
        "deep tuple as key": nested + b"Ns.",
        "deep tuple": b"\x80\x02}X\1\0\0\0a)" + b"\x85" * 500_000 + b"s.",
        "exponential key": doubled + b"Ns.",
        "exponential set": b"\x80\x04\x8f(" + doubled[3:] + b"\x90.",
        "contains itself": b"\x80\x02}q\0X\5\0\0\0modelh\0s.",
        "many opcodes": b"\x80\x02" + b"N0" * 3_000_000 + b"N.",
        "os.system": b"\x80\x02cos\nsystem\nX\4\0\0\0true\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
        "extension": b"\x80\x02\x82\x01.",
        "dtype of 4 GB": b"\x80\x02cnumpy\ndtype\nX\x0a\0\0\0U999999999\x85R.",
        "array without state": start + b"cnumpy\nndarray\n)Rsuss."[:-3] + b"s.",
        "encode of an int": b"\x80\x02c_codecs\nencode\nK\1\x85R.",
        "call of text": b"\x80\x02ctorch\nFloatStorage\n)R.",
        "stack empty": b"\x80\x02.",
        "no stop": b"\x80\x02}",
        "unknown opcode": b"\x80\x02\xfe.",
        "int as name": key + b"K\1" + array[frame:] + b"s.",
        "counter of counters": b"\x80\x02ccollections\nCounter\n)R}b.",
        "pid of text": b"\x80\x02X\1\0\0\0aQ.",
    }


def npy(header, data=bytes(768)):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def zip_attacks():
    """Returns `{name: {member: bytes}}` of .npz files."""
    descr = b"{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
    return {
        "member of 1 GB": {"w.npy": bytes(GIGABYTE)},
        "array of 1 GB": {f"{NAME}.npy": npy(descr % (b"<f4", b"(268435456,)"), bytes(GIGABYTE))},
        "declared 4 TB": {f"{NAME}.npy": npy(descr % (b"<f4", b"(1048576, 1048576)"))},
        "negative side": {f"{NAME}.npy": npy(descr % (b"<f4", b"(-1, -192)"))},
        "objects": {f"{NAME}.npy": npy(descr % (b"|O", b"(96,)"))},
        "text array": {f"{NAME}.npy": npy(descr % (b"<U16", b"(12,)"))},
        "complex": {f"{NAME}.npy": npy(descr % (b"<c8", b"(96,)"))},
        "header of brackets": {f"{NAME}.npy": npy(b"(" * 9000)},
        "header of code": {f"{NAME}.npy": npy(b"__import__('os').system('true')")},
        "shape of floats": {f"{NAME}.npy": npy(descr % (b"<f4", b"(16.0, 12)"))},
        "no array": {f"{NAME}.npy": b"hello"},
        "no header": {f"{NAME}.npy": b"\x93NUMPY"},
    }


def safetensors_attacks():
    """Returns `{name: bytes}`."""

    def one(**facts):
        facts = {"dtype": "F32", "shape": [16, 12], "data_offsets": [0, 768], **facts}
        text = json.dumps({NAME: facts}).encode()
        return struct.pack("<Q", len(text)) + text + bytes(768)

    return {
        "header of 4 EB": struct.pack("<Q", 1 << 62) + b"{}",
        "header of 90 MB": struct.pack("<Q", 90 << 20) + b"{}",
        "deep header": struct.pack("<Q", 100_000) + b'{"a":' + b"[" * 99_995,
        "shape of 4 TB": one(shape=[1 << 20, 1 << 20]),
        "overflowing shape": one(shape=[1 << 63, 2]),
        "negative side": one(shape=[-16, -12]),
        "unknown dtype": one(dtype="F8_E4M3"),
        "complex": one(dtype="C64"),
        "offsets beyond the end": one(data_offsets=[0, 1 << 40]),
        "reversed offsets": one(data_offsets=[768, 0]),
        "ints": one(dtype="I32"),
        "text as shape": one(shape="16"),
    }


def cases(kind, count, folder):
    """Yields (name, path) of `count` damaged files of a format."""
    rng, base = random.Random(f"{SEED} {kind}"), folder / "base" / base_name(kind)
    base.parent.mkdir(parents=True)
    write_base(base, kind)
    assert attempt(base, kind) == "equal"  # also imports the modules that every child needs
    made = list(structural(kind, folder, base))
    rng.shuffle(made)
    made = made[: max(count // 2, count - 60)]
    yield from made
    content = base.read_bytes()
    protected = () if kind in CHECKSUMMED else data_ranges(content)
    for index in range(count - len(made)):
        path = new_path(folder, base, f"bytes{index}")
        damaged, name = damage_bytes(content, rng, protected)
        path.write_bytes(damaged)
        yield name, path


def base_name(kind):
    suffixes = {"weights": "weights.h5", "torch_zip": "pth", "torch_legacy": "pth"}
    return "step_00000002.h5" if kind == "checkpoint" else f"a.{suffixes.get(kind, kind)}"


def data_ranges(content):
    starts = [(content.find(array.tobytes()), array.nbytes) for array in ARRAYS.values()]
    stored = [(start, start + size) for start, size in starts if start >= 0]
    if content.startswith(b"\x89HDF"):  # also the compressed array
        start = content.find(b"\x78\x5e")
        stored += [(start, start + 800)] if start >= 0 else []
    return stored


def new_path(folder, base, name):
    """Returns a path for a damaged file. For a checkpoint, an undamaged older one is copied to its folder."""
    path = folder / name.replace("/", "_").replace(" ", "_") / base.name
    path.parent.mkdir()
    older = base.with_name("step_00000001.h5")
    if older.exists():
        (path.parent / older.name).write_bytes(older.read_bytes())
    return path


def structural(kind, folder, base):
    secret = folder / "secret"
    secret.write_bytes(np.full(192, 42, "f4").tobytes())
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["secret"] = np.full((16, 12), 42, "f4")
    os.mkfifo(secret.with_suffix(".pipe"))
    path = new_path(folder, base, "pipe")
    os.mkfifo(path)
    yield "pipe", path
    path = new_path(folder, base, "device")
    path.symlink_to("/dev/zero")
    yield "device", path
    path = new_path(folder, base, "loop")
    path.symlink_to(path)
    yield "symbolic link loop", path
    for name, write in attacks(kind, base, secret):
        path = new_path(folder, base, f"attack {name}")
        write(path)
        yield name, path


def attacks(kind, base, secret):
    if kind in ("weights", "checkpoint", "h5"):
        yield from attacks_on_hdf5(kind, base, secret)
    elif kind == "npz":
        for name, members in zip_attacks().items():
            yield name, lambda path, members=members: write_members(path, members)
        yield "duplicate member", write_duplicate
    elif kind == "safetensors":
        for name, content in safetensors_attacks().items():
            yield name, lambda path, content=content: path.write_bytes(content)
    else:
        pickles = pickle_attacks()
        if kind != "pkl":
            for name, size in {
                "expanded": [1 << 30],
                "negative size": [-1, -192],
                "huge": [1 << 40] * 3,
            }.items():
                pickles[f"tensor {name}"] = tensor_pickle(size=size)
            pickles["storage of 16 GB"] = tensor_pickle(storage_size=1 << 32)
            pickles["storage smaller"] = tensor_pickle(storage_size=3)
            pickles["storage negative"] = tensor_pickle(storage_size=-1)
            pickles["view of a storage"] = tensor_pickle(view=True)
        for name, content in pickles.items():
            yield name, pickle_writer(kind, content)


def pickle_writer(kind, content):
    if kind == "pkl":
        return lambda path: path.write_bytes(content)
    if kind == "torch_zip":
        return lambda path: write_torch_zip(path, content, zipfile.ZIP_DEFLATED)
    return lambda path: path.write_bytes(torch_legacy(content))


def attacks_on_hdf5(kind, base, secret):
    def changed(change):
        def write(path):
            path.write_bytes(base.read_bytes())
            with warnings.catch_warnings(), h5py.File(path, "r+") as file:
                warnings.simplefilter("ignore")
                change(file)
            if kind != "h5":
                seal(path, kind)

        return write

    for name, change in hdf5_attacks(secret).items():
        yield name, changed(change)
    for index, (attribute, text) in enumerate(header_attacks(kind) if kind != "h5" else ()):
        yield f"{attribute} {index}", changed(lambda file, a=attribute, t=text: file.attrs.__setitem__(a, t))


def write_members(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_duplicate(path):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for value in (1, 2):
            out = io.BytesIO()
            np.save(out, np.full((16, 12), value, "f4"))
            archive.writestr(f"{NAME}.npy", out.getvalue())


def attempt(path, kind):
    """Loads a file and returns the outcome."""
    try:
        arrays = load(path, kind)
    except (ValueError, OSError) as error:
        return "refused" if path.name in str(error) or path.parent.name in str(error) else "file not named"
    except BaseException as error:
        return type(error).__name__
    is_equal = arrays.keys() == ARRAYS.keys() and all(
        arrays[name].dtype.kind == "f" and np.array_equal(arrays[name], array)
        for name, array in ARRAYS.items()
    )
    return "equal" if is_equal else "changed"


def attempt_in_child(path, kind):
    """Loads a file in a child process. Returns the outcome, the seconds, and the memory growth in MB."""
    start, before = (
        time.monotonic(),
        int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"),
    )
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(MAX_SECONDS)  # ends the process even inside a library
        os.write(write, attempt(path, kind).encode())
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        outcome = pipe.read()
    if not outcome:
        outcome = signal.Signals(status & 127).name if status else "nothing"
    return outcome, time.monotonic() - start, (usage.ru_maxrss * 1024 - before) / 2**20


def main(folder, count, kinds):
    logging.disable()
    for kind in kinds:
        for name, path in cases(kind, count, Path(folder) / kind):
            outcome, seconds, growth = attempt_in_child(path, kind)
            line = {"kind": kind, "name": name, "outcome": outcome, "seconds": seconds, "growth": growth}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
