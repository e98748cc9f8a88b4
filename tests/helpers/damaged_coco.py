"""A seeded generator of damaged and hostile COCO files, for the tests of the reader.

Each file has two images and one error. `KINDS` lists the kinds of errors. Each seed of a kind gives a
different file.
"""

import copy
import json
import random

from PIL import Image

SIZE = (24, 32)  # (height, width) of the images
NAMES = ("a.png", "b.png")
SQUARE = [4, 3, 14, 3, 14, 12, 4, 12]
RUNS = {"size": [24, 32], "counts": [99, 9, 15, 9, 15, 9, 612]}
POINTS = [5, 5, 2, 8, 8, 1]

FIELDS = (
    *(("images", field) for field in ("id", "file_name", "height", "width")),
    *(("categories", field) for field in ("id", "name", "keypoints", "skeleton")),
    *(
        ("annotations", field)
        for field in (
            "id",
            "image_id",
            "category_id",
            "bbox",
            "area",
            "iscrowd",
            "segmentation",
            "keypoints",
            "num_keypoints",
        )
    ),
)
VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    -(2**63),
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "12",
    "x" * 5000,
    "\ud800",
    "\x1b[31m\x00\u202e",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    [[[[[1]]]]],
    ["1", "2", "3", "4"],
    [1e300, 1, 1, 1],
)


def valid_content():
    """Returns valid COCO content with two images, three objects and a crowd region."""
    objects = [
        (1, 1, 1, [4, 3, 10, 9], [SQUARE], 0),
        (2, 1, 2, [4, 3, 3, 9], RUNS, 0),
        (3, 2, 1, [4, 3, 10, 9], [SQUARE, SQUARE], 0),
        (4, 2, 2, [4, 3, 3, 9], RUNS, 1),
    ]
    names = ("id", "image_id", "category_id", "bbox", "segmentation", "iscrowd")
    annotations = [
        {**dict(zip(names, copy.deepcopy(one), strict=True)), "area": 27.0, "keypoints": list(POINTS)}
        for one in objects
    ]
    for one in annotations:
        one["area"] = 90 if isinstance(one["segmentation"], list) else 27
        one["num_keypoints"] = 2
    return {
        "info": {"year": 2024},
        "images": [
            {"id": id, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for id, name in enumerate(NAMES, start=1)
        ],
        "categories": [
            {"id": 1, "name": "cup", "keypoints": ["top", "bottom"], "skeleton": [[1, 2]]},
            {"id": 2, "name": "gr\u00f6\u00dfe", "keypoints": ["top", "bottom"], "skeleton": []},
        ],
        "annotations": annotations,
    }


def write_images(folder):
    """Writes the two image files."""
    for name in NAMES:
        Image.new("RGB", SIZE[::-1], "gray").save(folder / name)


def _text(content):
    return json.dumps(content).encode()


def _swapped_value(draw):
    """Replaces the value of a field, in one or all entries, with one of another type."""
    content = valid_content()
    part, field = draw.choice(FIELDS)
    value = draw.choice(VALUES)
    for entry in content[part] if draw.random() < 0.4 else [draw.choice(content[part])]:
        entry[field] = copy.deepcopy(value)
    return _text(content)


def _missing_field(draw):
    content = valid_content()
    part, field = draw.choice(FIELDS)
    for entry in content[part] if draw.random() < 0.4 else [draw.choice(content[part])]:
        entry.pop(field, None)
    return _text(content)


def _swapped_entry(draw):
    """Replaces a list, or an entry of a list, with something else."""
    content = valid_content()
    part = draw.choice(("images", "categories", "annotations"))
    how = draw.randrange(5)
    if how == 0:
        content[part] = draw.choice(VALUES)
    elif how == 1:
        content[part][draw.randrange(len(content[part]))] = draw.choice(VALUES)
    elif how == 2:
        del content[part]
    elif how == 3:
        content[part] = content[part] * 2
    else:
        content[part] = dict(enumerate(content[part]))
    return _text(content)


def _top_level(draw):
    """Replaces the complete content with another kind of JSON."""
    content = valid_content()
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}]
    others = (results, content["annotations"], [content], json.dumps(content), *VALUES)
    return _text(draw.choice(others))


def _deep_nesting(draw):
    depth = draw.choice((50, 400, 900, 5_000, 300_000))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}")))
    nested = opening * depth + "1" + closing * depth
    part, field = draw.choice(FIELDS)
    content = valid_content()
    draw.choice(content[part])[field] = "@"
    return json.dumps(content).replace('"@"', nested, 1).encode()


def _huge_number(draw):
    part, field = draw.choice(FIELDS)
    content = valid_content()
    draw.choice(content[part])[field] = "@"
    digits = draw.choice((20, 400, 4000, 5000, 100_000))
    number = draw.choice(("-", "")) + "9" * digits + draw.choice(("", ".5", "e99", "e-99"))
    return json.dumps(content).replace('"@"', number, 1).encode()


def _duplicate_key(draw):
    text = json.dumps(valid_content())
    keys = [f'"{field}": ' for _, field in FIELDS if f'"{field}": ' in text]
    key = draw.choice([*keys, '"images": ', '"annotations": '])
    value = json.dumps(draw.choice((None, 1, 7, "x", [], [0, 0, 2, 2], {})))
    return text.replace(key, f"{key}{value}, {key}", draw.choice((1, -1))).encode()


def _cut_off(draw):
    data = _text(valid_content())
    return data[: draw.randrange(len(data))]


def _flipped_bytes(draw):
    data = bytearray(json.dumps(valid_content(), ensure_ascii=draw.random() < 0.5).encode())
    for _ in range(draw.choice((1, 1, 3, 30))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def _other_bytes(draw):
    data = json.dumps(valid_content(), ensure_ascii=False)
    encoding = draw.choice(("utf-16", "utf-16-be", "utf-32", "latin-1", "utf-8-sig", "cp1140"))
    data = data.encode(encoding)
    how = draw.randrange(4)
    if how == 0:
        return data
    if how == 1:
        return draw.randbytes(draw.choice((1, 40, 3000)))
    if how == 2:
        return data[draw.choice((1, 2, 3)) :]
    return draw.choice((b"\xff\xfe", b"\0", b"\xef\xbb\xbf", b"")) + data + draw.randbytes(3)


def _run_length_garbage(draw):
    content = valid_content()
    mask = draw.choice([one["segmentation"] for one in content["annotations"][1::2]])
    how = draw.randrange(6)
    if how == 0:
        mask["counts"] = [draw.choice((-5, 0, 10**9, 10**18, 2**63, 1.5, None, "x")) for _ in range(8)]
    elif how == 1:
        mask["counts"] = draw.randbytes(draw.choice((1, 9, 400))).decode("latin-1")
    elif how == 2:
        mask["counts"] = "".join(chr(48 + draw.randrange(64)) for _ in range(draw.choice((3, 30, 3000))))
    elif how == 3:
        mask["size"] = draw.choice(
            ([32, 24], [10**9, 10**9], [24], "24", [24, 32, 3], [-24, -32], [0, 0], None)
        )
    elif how == 4:
        mask["counts"] = [0] * draw.choice((1, 10, 100_000)) + [768]
    else:
        mask["counts"] = ["99", 9.0, 15, "9", 15, 9, 612] if draw.random() < 0.5 else [768]
    return _text(content)


def _polygon_garbage(draw):
    content = valid_content()
    one = draw.choice(content["annotations"])
    far = draw.choice((1e3, 1e6, 1e9, 1e15, 1e300))
    zigzag = [
        value for i in range(draw.choice((100, 20_000))) for value in (i % 2 * 60 - 20, i % 3 * 40 - 20)
    ]
    one["segmentation"] = draw.choice(
        (
            [[]],
            [[], SQUARE],
            [SQUARE[:4]],
            [SQUARE[:5]],
            SQUARE,
            [[[4, 3], [14, 3], [14, 12]]],
            [[4, 3], [14, 3], [14, 12]],
            [[4, 3, far, 3, far, far]],
            [[-far, -far, far, -far, far, far]],
            [zigzag],
            [[5, 5] * 50],
            [[None] * 8],
            [list(map(str, SQUARE))],
            [[*SQUARE[:7], float("nan")]],
            [[*SQUARE[:7], True]],
            [RUNS],
            [SQUARE] * 3000,
            [SQUARE, "x", 5],
            [[y for pair in zip(SQUARE[1::2], SQUARE[::2], strict=True) for y in pair]],
            {"counts": SQUARE},
            {"size": list(SIZE)},
        )
    )
    if draw.random() < 0.3:
        del one["bbox"]
    return _text(content)


def _box_garbage(draw):
    content = valid_content()
    for one in content["annotations"] if draw.random() < 0.3 else [draw.choice(content["annotations"])]:
        one["bbox"] = [draw.choice((0, 5, -5, 1e9, 10**400, float("inf"), "7", None, 3.25)) for _ in range(4)]
        if draw.random() < 0.3:
            one["segmentation"] = draw.choice((None, []))
    return _text(content)


def _references(draw):
    """Makes ids repeated, missing, or references to entries that do not exist."""
    content = valid_content()
    ids = (0, 1, 2, 77, "1", "one", 1.0, 1.5, None, True, [], "\ud800")
    part, field = draw.choice((("images", "id"), ("categories", "id"), *(FIELDS[8:11])))
    for entry in content[part]:
        if draw.random() < 0.6:
            entry[field] = draw.choice(ids)
    return _text(content)


def _file_names(draw):
    content = valid_content()
    names = (
        "",
        ".",
        "..",
        "/",
        "/etc/passwd",
        "../../a.png",
        "a.png/b.png",
        "C:\\x\\a.png",
        "A.PNG",
        "a%2epng",
    )
    names += (
        "\0",
        "a.png\n",
        "x" * 300,
        "x/" * 3000,
        "\ud800.png",
        "http://h/a.png",
        "~",
        "b.png",
        "con",
        "*",
    )
    for image in content["images"] if draw.random() < 0.5 else content["images"][:1]:
        image["file_name"] = draw.choice(names)
    return _text(content)


def _keypoint_garbage(draw):
    content = valid_content()
    values = (
        POINTS[:3],
        POINTS[:4],
        POINTS * 4,
        [None] * 6,
        [[5, 5, 2], [8, 8, 1]],
        "top",
        {"x": 1},
        [1e308] * 6,
    )
    values += (list(map(float, POINTS)), list(map(str, POINTS)), [5, 5, 3, 8, 8, -1], [True] * 6, [[]] * 6)
    for one in content["annotations"] if draw.random() < 0.5 else content["annotations"][:1]:
        one["keypoints"] = draw.choice(values)
    return _text(content)


KINDS = {
    kind.__name__.strip("_"): kind
    for kind in (
        _swapped_value,
        _missing_field,
        _swapped_entry,
        _top_level,
        _deep_nesting,
        _huge_number,
        _duplicate_key,
        _cut_off,
        _flipped_bytes,
        _other_bytes,
        _run_length_garbage,
        _polygon_garbage,
        _box_garbage,
        _references,
        _file_names,
        _keypoint_garbage,
    )
}


def damaged_results(seed):
    """Returns the entries of a damaged results file for `valid_content`. The seed determines the result."""
    draw = random.Random(f"results {seed}")
    found = {"image_id": 1, "category_id": 1, "bbox": [4, 3, 10, 9], "score": 0.9}
    found |= {"segmentation": RUNS, "keypoints": POINTS}
    if draw.random() < 0.4:
        found |= {"file_name": "a.png", "category_name": "cup"}
    entries = [copy.deepcopy(found) for _ in range(3)]
    for _ in range(draw.choice((1, 1, 2))):
        index, field = draw.randrange(3), draw.choice((*found, "file_name", "counts", "size", "entry"))
        value = copy.deepcopy(draw.choice(VALUES))
        if field == "entry":
            entries[index] = value
        elif isinstance(entries[index], dict) and field in ("counts", "size"):
            runs = draw.choice((value, [-5, 773], "0", "o" * 9, "P", [768], [1e300], [10**9] * 3, [32, 24]))
            entries[index]["segmentation"] = {**RUNS, field: runs}
        elif isinstance(entries[index], dict):
            entries[index][field] = value
    return entries


def damaged_coco(kind, seed):
    """Returns the bytes of a damaged COCO file. The kind and the seed determine the result."""
    return KINDS[kind](random.Random(f"{kind} {seed}"))
