"""Files of data sets for readers and writers: names of files and classes, text files, copies of images."""

import shutil
from pathlib import Path, PurePosixPath

from mask_rcnn.data.json_file import read_bytes
from mask_rcnn.formats.registry import Target

CLASS_NAMES = "class_names.txt"


def annotations_by_image(content: dict) -> list[tuple[dict, list[dict]]]:
    """Groups the annotations of a COCO JSON by image.

    Args:
        content: Content of a COCO JSON.

    Returns:
        List of (image, list of its annotations), in the order of the images.
    """
    annotations = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    return [(image, annotations[image["id"]]) for image in content["images"]]


def relative_name(file_name: str, part: str = "", suffix: str | None = None) -> PurePosixPath:
    """Returns a relative path for the file of an image, which cannot leave the folder that it is joined to.

    Leading separators, drives and ".." are removed.

    Args:
        file_name: `file_name` of the image.
        part: Subfolder, which becomes the first part of the path. Defaults to "", no subfolder.
        suffix: New suffix of the name, such as ".txt". Defaults to None, which keeps the suffix.

    Returns:
        `PurePosixPath`.
    """
    parts = PurePosixPath(file_name.replace("\\", "/")).parts
    path = PurePosixPath(part, *[each for each in parts if each not in ("/", "//", "..") and ":" not in each])
    return path if suffix is None else path.with_suffix(suffix)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Returns the files of a folder and its subfolders that match a pattern, sorted. Omits hidden files.

    Args:
        folder: `Path` of the folder.
        pattern: Pattern of `Path.rglob`.

    Returns:
        List of `Path`.
    """
    return [
        path for path in sorted(folder.rglob(pattern)) if path.is_file() and not path.name.startswith(".")
    ]


def copy_image(target: Target, image: dict, path: PurePosixPath) -> None:
    """Copies an image file into the output folder.

    Args:
        target: `Target`.
        image: Image entry of the COCO JSON.
        path: Path of the copy, relative to the output folder.
    """
    source_path = target.images.find(image["file_name"], "the annotations")
    (target.path / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source_path, target.path / path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8. Creates missing parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read_text(path: Path, expected: str) -> str:
    """Returns the text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: Path of the file.
        expected: What the file should be, for the messages, such as "a list of image names".

    Raises:
        OSError: If there is no such file.
        ValueError: If it is empty or not in UTF-8.
    """
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"which is not in UTF-8 (byte {error.start})"
        raise ValueError(f"Expected {expected}. Received: {path}, {reason}. Save it in UTF-8.") from error


def write_class_names(folder: Path, content: dict) -> None:
    """Writes class_names.txt, so that a reader of the folder also finds the classes without objects.

    The format is that of labelme's exports: one line for the background, then one line per class.
    """
    names = names_by_id(content).values()
    write_text(folder / CLASS_NAMES, "".join(f"{name}\n" for name in ("_background_", *names)))


def read_class_names(folder: Path) -> list[str]:
    """Returns the class names in class_names.txt, or in labelme's labels.txt. Returns [] without a file.

    Names that begin with "_", such as "_background_" and "__ignore__", are not classes and are omitted.
    """
    path = next((folder / name for name in (CLASS_NAMES, "labels.txt") if (folder / name).is_file()), None)
    lines = read_text(path, "a list of class names").splitlines() if path else ()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("_")))


def names_by_id(content: dict) -> dict[int, str]:
    """Returns `{category id: name}` of the content of a COCO JSON."""
    return {category["id"]: category["name"] for category in content["categories"]}
