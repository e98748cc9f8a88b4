"""Converts a data set: reads it, selects classes, splits it, and writes it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.formats.image_folder import ImageFolder
from mask_rcnn.formats.polygons import masks_to_polygons
from mask_rcnn.formats.registry import READERS, WRITERS, Source, Target, Track, no_progress
from mask_rcnn.formats.selection import PARTS, keep_classes, merge_classes, split_images
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import AnyPath, as_path, local_path

COCO, TFRECORD = "coco", "tfrecord"
MAX_SHARDS = 99_999  # their numbers have five digits
TRAIN_FRACTIONS = (0.0, 1.0)  # both excluded


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which classes and images of a data set are written, and how.

    Args:
        classes: Names of the classes to keep, after merging. Defaults to (), all classes.
        merges: `{new name: [old names]}`. Defaults to {}.
        train_fraction: Fraction of the images in the part "train", between 0 and 1. The other images are in
            the part "val". Defaults to None, no split.
        seed: Seed of the random split. Defaults to 0.
        num_shards: Number of files per part, for "tfrecord". Defaults to None, chosen by the size of the
            images.
        polygon_tolerance: Maximum distance, pixels, between the outline of an RLE mask and the polygon that
            replaces it. Defaults to None, which keeps RLE masks.
        model_version: Name of the model whose predictions are written, for "label_studio".
    """

    classes: tuple = ()
    merges: dict = dataclasses.field(default_factory=dict)
    train_fraction: float | None = None
    seed: int = 0
    num_shards: int | None = None
    polygon_tolerance: float | None = None
    model_version: str = Target.model_version

    def __post_init__(self):
        low, high = TRAIN_FRACTIONS
        if self.train_fraction is not None and not low < self.train_fraction < high:
            raise ValueError(
                "`--split` is the fraction of the images to train on, between 0 and 1, such as 0.8. "
                f"Received: {self.train_fraction}. Correct it."
            )
        if self.num_shards is not None and not 0 < self.num_shards <= MAX_SHARDS:
            raise ValueError(
                f"`--shards` must be 1 to {MAX_SHARDS} files. Received: {self.num_shards}. Correct it."
            )
        if self.polygon_tolerance is not None and not self.polygon_tolerance >= 0:
            raise ValueError(
                "`--polygons` is a number of pixels, 0 for exact outlines. "
                f"Received: {self.polygon_tolerance}. Correct it."
            )


def read(name: str, path: AnyPath, images_dir: AnyPath | None = None, **options: Any) -> dict:
    """Reads the annotations of a data set and checks them.

    Args:
        name: Name of the format.
        path: Path of the file or folder of the annotations.
        images_dir: Folder that `file_name`s are relative to. Defaults to None, the folder of `path`. TFRecord
            files contain their images. The images are written to this folder, which must be new or empty.
        options: Other fields of `Source`.

    Returns:
        The content of a COCO JSON, a dict.

    Raises:
        OSError: If a file is missing. The message names it.
        ValueError: If a file does not follow the format. The message names it.
    """
    path = as_path(path)
    reader = READERS.find(name)
    if name == TFRECORD:
        _make_empty_folder(images_dir)
    elif not path.exists():
        raise FileNotFoundError(
            f"Expected annotations. Received: {str(path)!r}, which does not exist. Check the path."
        )
    folder = images_dir or (path if path.is_dir() else path.parent)
    # Only the reader of TFRecord files supports a `RemotePath`.
    source = Source(path=path, images=ImageFolder(folder), **options)  # pyright: ignore[reportArgumentType]
    return _checked_content(reader(source), source)


def _make_empty_folder(folder: AnyPath | None) -> None:
    """Creates the folder that the images of TFRecord files are written to."""
    if folder is None:
        raise ValueError(
            "TFRecord files contain their images, which need a folder to be written to. Received: no folder. "
            "Give the path of a new folder with `--images`."
        )
    folder = local_path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"The folder for the images must be new or empty. Received: {str(folder)!r}. Choose another path "
            "(`--images`)."
        )
    folder.mkdir(parents=True, exist_ok=True)


def _checked_content(content, source):
    """Checks and repairs annotations with the reader of COCO JSONs. Returns the content of a COCO JSON.

    Args:
        content: Path of a COCO JSON, its content, or `Shards`.
        source: `Source`. Sentences about repairs are added to its `notes`.
    """
    try:
        checked = read_annotations(content, max_bad_images=1.0 if source.skip_errors else 0.0)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(source.path) in message else f"{source.path}: {message}") from error
    source.notes.extend(checked.warnings)
    return {
        "images": [dict(image) for image in checked.images],
        "categories": [_category(category) for category in checked.categories],
        "annotations": [_annotation(annotation, source.scores) for annotation in checked.annotations],
    }


def _category(category):
    entry = {"id": category.id, "name": category.name}
    if category.keypoints:
        entry |= {
            "keypoints": list(category.keypoints),
            "skeleton": [list(pair) for pair in category.skeleton],
        }
    return entry


def _annotation(annotation, scores):
    """Returns an annotation without its empty fields, and with the score if it is a prediction."""
    score = {"score": scores[annotation["id"]]} if annotation["id"] in scores else {}
    optional = {"segmentation", "keypoints"} | (set() if annotation["keypoints"] else {"num_keypoints"})
    return {key: value for key, value in annotation.items() if key not in optional or value} | score


def write(
    name: str,
    content: dict,
    images_dir: AnyPath,
    *,
    out: AnyPath,
    selection: Selection | None = None,
    findings: Findings | None = None,
    track: Track = no_progress,
) -> tuple[dict[str, dict], list[Path]]:
    """Writes a data set in a format.

    Args:
        name: Name of the format.
        content: Content of a COCO JSON.
        images_dir: Folder that the `file_name`s are relative to.
        out: Path to write, a JSON file for "coco" and a folder for the other formats. With a split, "coco"
            writes `STEM_train.json` and `STEM_val.json`.
        selection: `Selection`. Defaults to None, the whole data set.
        findings: `Findings`. What is left out is added. Defaults to None.
        track: Function that reports progress, see `Source`. Defaults to `no_progress`.

    Returns:
        Tuple of
        parts: `{name of the part: content}` as written. Without a split, the only name is "".
        paths: List of the written paths.

    Raises:
        ValueError: If `out` exists, or if the format cannot represent the data set.
    """
    selection, findings, out = selection or Selection(), findings or Findings(), local_path(out)
    parts = select(content, selection, findings)
    writer, paths = WRITERS.find(name), output_paths(name, out, selection.train_fraction is not None)
    common: dict[str, Any] = {"images": ImageFolder(images_dir), "findings": findings, "track": track}
    common |= {"num_shards": selection.num_shards, "model_version": selection.model_version}
    if name == COCO:
        for (part, each), path in zip(parts.items(), paths, strict=True):
            writer(Target(parts={part: each}, path=path, final_path=path, **common))
    else:
        with atomic_write(out) as folder:
            folder.mkdir()
            writer(Target(parts=parts, path=folder, final_path=out, **common))
    return parts, paths


def select(content: dict, selection: Selection, findings: Findings) -> dict[str, dict]:
    """Applies a `Selection` to a data set.

    Args:
        content: Content of a COCO JSON.
        selection: `Selection`.
        findings: `Findings`. What is left out is added.

    Returns:
        `{name of the part: content}`. Without a split, the only name is "".
    """
    content = merge_classes(content, selection.merges, findings)
    content = keep_classes(content, selection.classes, findings)
    if selection.polygon_tolerance is not None:
        content = masks_to_polygons(content, selection.polygon_tolerance, findings)
    if selection.train_fraction is None:
        return {"": content}
    return split_images(content, selection.train_fraction, selection.seed)


def output_paths(name: str, out: Path, is_split: bool) -> list[Path]:
    """Returns the list of paths that `write` creates: one file per part for "coco", otherwise one folder.

    Args:
        name: Name of the format.
        out: Path given to `write`.
        is_split: Whether the data set is split.

    Raises:
        ValueError: If one of the paths exists.
    """
    paths = [out.with_stem(f"{out.stem}_{part}") for part in PARTS] if name == COCO and is_split else [out]
    for path in paths:
        if path.exists():
            raise ValueError(
                f"The output must not exist. Received: {str(path)!r}, which does. Choose another path."
            )
    return paths
