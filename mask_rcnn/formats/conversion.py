"""Converts a data set: reads it, selects classes, splits it, and writes it."""

import dataclasses
from dataclasses import dataclass

from mask_rcnn.data.coco_content import read_annotations
from mask_rcnn.data.findings import Findings
from mask_rcnn.formats.image_folder import ImageFolder
from mask_rcnn.formats.polygons import masks_to_polygons
from mask_rcnn.formats.registry import READERS, WRITERS, Source, Target, no_progress
from mask_rcnn.formats.selection import PARTS, keep_classes, merge_classes, split_images
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import as_path, local_path

COCO, TFRECORD = "coco", "tfrecord"
MAX_SHARDS = 99_999  # their numbers have five digits
TRAIN_FRACTIONS = (0.0, 1.0)  # both excluded


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What of a data set is written.

    Args:
        classes: Names of the classes that are kept, after merging. Empty keeps all.
        merges: {new name: [old names]}.
        train_fraction: Fraction of the images in the part "train" of a split. None does not split.
        seed: Of the split.
        num_shards: Number of files of each part, for "tfrecord". None decides by size.
        polygon_tolerance: Masks of run lengths become polygons that differ from their outlines by at most
            this many pixels. None keeps them.
        model_version: Name of the model, for predictions in "label_studio".
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


def read(name, path, images_dir=None, **options):
    """Returns the annotations of a data set as the content of a COCO json, checked.

    Args:
        name: Name of the format.
        path: File or folder of the annotations.
        images_dir: Folder that `file_name`s are relative to. Defaults to the folder of `path`. TFRecord files
            have their images inside: these are written to this folder, which must be new or empty.
        options: Further fields of `Source`.

    Raises:
        OSError, ValueError: A file is missing or is not as the format says. The message names it.
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
    source = Source(path=path, images=ImageFolder(folder), **options)
    return _checked(reader(source), source)


def _make_empty_folder(folder):
    """Makes the folder that the images of TFRecord files are written to."""
    if folder is None:
        raise ValueError(
            "The images are inside of TFRecord files, and are written to a folder. Received: no folder. "
            "Name a new one with `--images`."
        )
    folder = local_path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"The folder for the images must be new or empty. Received: {str(folder)!r}. Choose another path "
            "(`--images`)."
        )
    folder.mkdir(parents=True, exist_ok=True)


def _checked(found, source):
    """Returns the content of a COCO json as the reader of COCO jsons understands it.

    Args:
        found: Path of a COCO json, or its content, or `Shards`.
        source: `Source`; its notes are added to.
    """
    try:
        checked = read_annotations(found, max_bad_images=1.0 if source.skip_errors else 0.0)
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
    """Returns an annotation without the fields that it does not have, with the score of a prediction."""
    score = {"score": scores[annotation["id"]]} if annotation["id"] in scores else {}
    optional = {"segmentation", "keypoints"} | (set() if annotation["keypoints"] else {"num_keypoints"})
    return {key: value for key, value in annotation.items() if key not in optional or value} | score


def write(name, content, images_dir, out, selection=None, findings=None, track=no_progress):
    """Writes a data set in a format.

    Args:
        name: Name of the format.
        content: Content of a COCO json.
        images_dir: Folder that its `file_name`s are relative to.
        out: Path to write, a json file for "coco" and a folder for the others. A split of "coco" writes
            `STEM_train.json` and `STEM_val.json`.
        selection: `Selection`. Defaults to everything.
        findings: `Findings`; what is left out is added.
        track: As in `Source`.

    Returns:
        {part: content} as it was written, and the list of the paths.

    Raises:
        ValueError: `out` exists, or the format cannot hold the data set.
    """
    selection, findings, out = selection or Selection(), findings or Findings(), local_path(out)
    parts = select(content, selection, findings)
    writer, paths = WRITERS.find(name), output_paths(name, out, selection.train_fraction is not None)
    common = {"images": ImageFolder(images_dir), "findings": findings, "track": track}
    common |= {"num_shards": selection.num_shards, "model_version": selection.model_version}
    if name == COCO:
        for (part, each), path in zip(parts.items(), paths, strict=True):
            writer(Target(parts={part: each}, path=path, final_path=path, **common))
    else:
        with atomic_write(out) as folder:
            folder.mkdir()
            writer(Target(parts=parts, path=folder, final_path=out, **common))
    return parts, paths


def select(content, selection, findings):
    """Returns {part: content} of what is written, as a `Selection` says; one part "" without a split.

    Args:
        content: Content of a COCO json.
        selection: `Selection`.
        findings: `Findings`; what is left out is added.
    """
    content = merge_classes(content, selection.merges, findings)
    content = keep_classes(content, selection.classes, findings)
    if selection.polygon_tolerance is not None:
        content = masks_to_polygons(content, selection.polygon_tolerance, findings)
    if selection.train_fraction is None:
        return {"": content}
    return split_images(content, selection.train_fraction, selection.seed)


def output_paths(name, out, is_split):
    """Returns the list of the paths that `write` makes, a file for each part of "coco", else one folder.

    Raises:
        ValueError: One of them exists.
    """
    paths = [out.with_stem(f"{out.stem}_{part}") for part in PARTS] if name == COCO and is_split else [out]
    for path in paths:
        if path.exists():
            raise ValueError(
                f"The output must not exist. Received: {str(path)!r}, which does. Choose another path."
            )
    return paths
