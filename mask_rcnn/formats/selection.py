"""Selects what a conversion writes: merges classes, filters classes, and splits the images."""

import random
from collections.abc import Collection, Mapping, Sequence

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.formats.dataset_files import names_by_id

PARTS = ("train", "val")  # of a split


def merge_classes(content: dict, merges: Mapping[str, Sequence[str]], findings: Findings) -> dict:
    """Merges classes: gives several classes a common name and id.

    Args:
        content: Content of a COCO JSON.
        merges: Dict `{new name: [old names]}`.
        findings: `Findings`. Keypoints that are lost are added.

    Returns:
        New content. The id of the merged class is that of the first of its classes in the list of categories.
        A class that already has the new name is one of them.

    Raises:
        ValueError: If a class is unknown or is merged twice.
    """
    if not merges:
        return content
    _check_known([name for names in merges.values() for name in names], content, "--merge")
    new_names = {}
    for new, names in merges.items():
        for name in names:
            if new_names.setdefault(name, new) != new:
                raise ValueError(
                    f"A class can be merged once. Received: `--merge` with {name!r} twice. Remove one."
                )
    ids, categories = {}, {}
    for category in content["categories"]:
        name = new_names.get(category["name"], category["name"])
        first = categories.setdefault(name, {**category, "name": name})
        ids[category["id"]] = first["id"]
        if category is not first and category.get("keypoints", []) != first.get("keypoints", []):
            findings.repair("keypoints were left out: the merged classes have different keypoints", name)
            for key in ("keypoints", "skeleton"):
                first.pop(key, None)
    annotations = [{**each, "category_id": ids[each["category_id"]]} for each in content["annotations"]]
    with_keypoints = {category["id"] for category in categories.values() if category.get("keypoints")}
    for each in annotations:
        if each["category_id"] not in with_keypoints:
            for key in ("keypoints", "num_keypoints"):
                each.pop(key, None)
    return {**content, "categories": list(categories.values()), "annotations": annotations}


def keep_classes(content: dict, names: Collection[str], findings: Findings) -> dict:
    """Returns content with the given classes only. Keeps all images, also those without objects.

    Args:
        content: Content of a COCO JSON.
        names: Names of the classes. If empty, all classes are kept.
        findings: `Findings`. The removed objects are added.

    Raises:
        ValueError: If a class is unknown.
    """
    if not names:
        return content
    _check_known(names, content, "--classes")
    categories = [category for category in content["categories"] if category["name"] in names]
    ids, all_names, annotations = {category["id"] for category in categories}, names_by_id(content), []
    for each in content["annotations"]:
        if each["category_id"] in ids:
            annotations.append(each)
        else:
            findings.repair(
                "objects of other classes than `--classes` were left out", all_names[each["category_id"]]
            )
    return {**content, "categories": categories, "annotations": annotations}


def _check_known(names, content, option):
    known = names_by_id(content).values()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"`{option}` takes names of classes: {', '.join(list(known)[:50])}. "
            f"Received: {', '.join(map(shown, unknown))}. Correct the names."
        )


def split_images(content: dict, fraction: float, seed: int) -> dict[str, dict]:
    """Splits the images at random into "train" and "val".

    Images with the same file are in the same part. The same content and seed give the same parts.

    Args:
        content: Content of a COCO JSON.
        fraction: Float from 0 to 1, fraction of the files in "train". Each part gets at least one file.
        seed: Integer, seed of the random numbers.

    Returns:
        Dict `{"train": content, "val": content}`.

    Raises:
        ValueError: If there are fewer than two image files.
    """
    files = sorted({image["file_name"] for image in content["images"]})
    if len(files) < 2:
        raise ValueError(f"`--split` needs at least two images. Received: {len(files)}. Omit `--split`.")
    random.Random(seed).shuffle(files)
    count = min(max(round(fraction * len(files)), 1), len(files) - 1)
    return {
        part: _part(content, set(each))
        for part, each in zip(PARTS, (files[:count], files[count:]), strict=True)
    }


def _part(content, files):
    images = [image for image in content["images"] if image["file_name"] in files]
    ids = {image["id"] for image in images}
    annotations = [each for each in content["annotations"] if each["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}
