"""The content of a COCO json as the writers need it."""

import shutil
from pathlib import PurePosixPath

from mask_rcnn.data.json_file import read_bytes

CLASS_NAMES = "class_names.txt"


def by_image(content):
    """Returns a list of (image, list of its annotations) in the order of the images."""
    annotations = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    return [(image, annotations[image["id"]]) for image in content["images"]]


def relative_name(file_name, part="", suffix=None):
    """Returns a path inside of a folder for the file of an image.

    Leading separators, drives and ".." are dropped, so that no name of a json leads out of the folder.

    Args:
        file_name: `file_name` of the image.
        part: Subfolder, or "".
        suffix: Replaces the suffix of the name, such as ".txt". None keeps it.
    """
    parts = PurePosixPath(file_name.replace("\\", "/")).parts
    path = PurePosixPath(part, *[each for each in parts if each not in ("/", "//", "..") and ":" not in each])
    return path if suffix is None else path.with_suffix(suffix)


def find_files(folder, pattern):
    """Returns the sorted files of a folder and its subfolders that match a pattern, without hidden ones.

    Args:
        folder: Path of the folder.
        pattern: As in `Path.rglob`.
    """
    return [
        path for path in sorted(folder.rglob(pattern)) if path.is_file() and not path.name.startswith(".")
    ]


def copy_image(target, image, path):
    """Copies the file of an image to `path`, relative to the folder that a `Target` writes."""
    found = target.images.find(image["file_name"], "the annotations")
    (target.path / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target.path / path)


def write_text(path, text):
    """Writes a text file in UTF-8, and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read_text(path, expected):
    """Returns the text of a file in UTF-8, with or without a byte order mark.

    Args:
        path: Path of the file.
        expected: What the file should be, for the messages.

    Raises:
        OSError: There is no such file.
        ValueError: It is empty, or is not in UTF-8.
    """
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"which is not in UTF-8 (byte {error.start})"
        raise ValueError(f"Expected {expected}. Received: {path}, {reason}. Save it in UTF-8.") from error


def write_class_names(folder, content):
    """Writes the names of all classes, so that those without objects are known when the folder is read again.

    The file is the one that labelme's exports have: a line for the background, and a line for each class.
    """
    names = names_of(content).values()
    write_text(folder / CLASS_NAMES, "".join(f"{name}\n" for name in ("_background_", *names)))


def read_class_names(folder):
    """Returns the names of a file of `write_class_names`, or of labelme's `labels.txt`; empty without one.

    Names that begin with "_", such as "_background_" and "__ignore__", are no classes.
    """
    path = next((folder / name for name in (CLASS_NAMES, "labels.txt") if (folder / name).is_file()), None)
    lines = read_text(path, "a list of class names").splitlines() if path else ()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("_")))


def names_of(content):
    """Returns {category id: name}."""
    return {category["id"]: category["name"] for category in content["categories"]}
