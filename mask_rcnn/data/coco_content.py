"""A COCO json without its image files, checked and repaired: what training and evaluation both start from."""

import collections
from dataclasses import dataclass

from mask_rcnn.data.annotations import read_annotation
from mask_rcnn.data.coco_entries import check_lists, load, read_categories, read_images, read_references
from mask_rcnn.data.fields import whole_number
from mask_rcnn.data.findings import Findings, listed, shown
from mask_rcnn.structures import Category

EXPECTED = "a COCO json"
NO_SIZE = "`height` or `width` was missing: the size of the file or of a mask was taken"


@dataclass(frozen=True)
class CocoContent:
    """A COCO json without its image files, checked and repaired.

    Args:
        name: Path of the file.
        categories: The `Category` records in the order of the file.
        images: Dicts with `id`, `file_name` (None if the file has none), `height`, `width`.
        annotations: Dicts of `read_annotation`, those of an image together.
        left_out: Dicts as in `images`, of images that cannot be used.
        warnings: What was left out or repaired, a line for each kind.
    """

    name: str
    categories: tuple[Category, ...]
    images: tuple[dict, ...]
    annotations: tuple[dict, ...]
    left_out: tuple[dict, ...]
    warnings: tuple[str, ...]


def read_annotations(source, sizes=None, max_bad_images=0.01):
    """Reads a COCO instances json without looking at its images, as an evaluation needs it.

    Args:
        source: Path of the json; or its content, which is not changed.
        sizes: {image id: (height, width)} that is known from elsewhere; used if the json has no size.
        max_bad_images: As in `read_coco`.

    Returns:
        `CocoContent`.
    """
    sizes = sizes or {}
    entries = read_entries(source)

    def size_of(image):
        if image["height"] and image["width"]:
            return image["height"], image["width"]
        size = sizes.get(image["id"]) or _mask_size(entries.by_image[image["id"]])
        if size is None:
            raise ValueError(
                "The size of the image is needed. Received: no `height` and `width` in the json, and no mask "
                "that tells it. Add them."
            )
        entries.findings.repair(NO_SIZE, f"image {shown(image['id'])}")
        return size

    images, annotations, left_out, bad = usable_images(entries, size_of)
    warnings = report(bad, entries, max_bad_images)
    categories = tuple(entries.categories.values())
    return CocoContent(entries.name, categories, tuple(images), tuple(annotations), tuple(left_out), warnings)


@dataclass(frozen=True)
class Entries:
    """What a json declares: `images` and `categories` by id, `by_image` annotations by image id."""

    name: str
    images: dict
    categories: dict
    by_image: dict
    findings: Findings
    notes: list


def read_entries(source):
    """Returns the `Entries` of a json; raises a ValueError that names all whose ids are unclear."""
    content, name, notes = load(source, EXPECTED)
    check_lists(content, name)
    findings = Findings()
    images = read_images(content["images"], findings)
    declared = {whole_number(entry.get("id")) for entry in content["categories"] if isinstance(entry, dict)}
    annotations = read_references(content["annotations"], images, declared, findings)
    categories = read_categories(content["categories"], annotations, findings)
    findings.check(EXPECTED, name)
    by_image = {id: [] for id in images}
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    return Entries(name, images, categories, by_image, findings, notes)


def usable_images(entries, size_of):
    """Returns images, their annotations, the images that cannot be used, and a sentence for each of those.

    Args:
        entries: `Entries`.
        size_of: Function from an image to (height, width), or a ValueError or OSError.
    """
    images, annotations, left_out, bad = [], [], [], []
    for image in entries.images.values():
        try:
            height, width = size_of(image)
            found = _read_all(entries.by_image[image["id"]], (height, width), entries)
        except (ValueError, OSError) as error:
            left_out.append(image)
            bad.append(f"image {shown(image['id'])} ({shown(image['file_name'])}): {error}")
            continue
        images.append({**image, "height": height, "width": width})
        annotations += found
        _note_repeated(found, entries.findings)
    entries.findings.check(EXPECTED, entries.name)
    return images, annotations, left_out, bad


def _read_all(annotations, size, entries):
    found, problems = [], []
    for entry in annotations:
        try:
            found.append(
                read_annotation(entry, size, entries.categories[entry["category_id"]], entries.findings)
            )
        except ValueError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {len(problems) - 1} more of its annotations)" if len(problems) > 1 else ""
        raise ValueError(problems[0] + more)
    return found


def _note_repeated(annotations, findings):
    """Reports objects that equal another one of their image; they stay, as in every COCO evaluation."""
    boxes = collections.Counter(map(_place, annotations))
    known = set()
    for one in annotations:
        if boxes[_place(one)] == 1:
            continue
        content = (*_place(one), _hashable(one["segmentation"]))
        if content in known:
            findings.repair(
                "an object repeats another one of its image: it stays, and at most one of them can be found",
                f"annotation {one['id']}",
            )
        known.add(content)


def _place(annotation):
    return annotation["category_id"], annotation["iscrowd"], *annotation["bbox"]


def _hashable(segmentation):
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        return counts if isinstance(counts, str) else tuple(counts)
    return segmentation and tuple(map(tuple, segmentation))


def _mask_size(annotations):
    """Returns the size that a run-length mask of an image declares, or None."""
    masks = (annotation.get("segmentation") for annotation in annotations)
    sizes = (mask.get("size") for mask in masks if isinstance(mask, dict))
    whole = ([whole_number(side) for side in size] for size in sizes if isinstance(size, list))
    return next((tuple(size) for size in whole if len(size) == 2 and all(_is_side(s) for s in size)), None)


def _is_side(side):
    return isinstance(side, int) and 0 < side < 2**16


def report(bad, entries, max_bad_images):
    """Returns what was left out and repaired, a line each; raises if too many images are bad."""
    num_images = len(entries.images)
    if len(bad) == num_images or len(bad) > max_bad_images * num_images:
        listing = "\n  ".join(listed(bad))
        raise ValueError(
            f"Expected at most {max_bad_images:.1%} of the images to be unusable. "
            f"Received: {entries.name} with {len(bad)} of {num_images}:\n  {listing}\n"
            "Correct them; training allows more with `data.max_bad_images`."
        )
    count = [f"{len(bad)} of {num_images} images are left out:"] if bad else []
    return (*entries.notes, *count, *listed(bad), *entries.findings.lines())
