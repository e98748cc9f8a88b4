"""Reads the lists of a COCO json: images, categories, and the references of annotations to both."""

import collections
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import MAX_EXACT, UNCLEAR, identity, whole_number
from mask_rcnn.data.keypoints import read_category
from mask_rcnn.structures import Category

EXPECTED = "a COCO json"
GIVEN = "the given content"  # name in messages for content that is already parsed
MAX_PIXELS = 2**32 - 1  # per image, because COCO's run lengths are 32-bit numbers
UNDECLARED_IMAGES = "annotations of images that the file does not declare were left out"  # kind of repair


def check_lists(content: object, name: str) -> None:
    """Raises a ValueError unless `content` has the lists of a COCO instances json.

    Args:
        content: Parsed content of a json.
        name: Name of the file, for messages.
    """
    if isinstance(content, list):
        raise ValueError(
            "Expected a COCO instances json: an object with the lists `images`, `annotations` and "
            f"`categories`. Received: {name}, a list of {len(content)}, as a results file has it. "
            "Give the file with the ground truth, not one with results."
        )
    for field in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(field), list):
            raise ValueError(
                "Expected a COCO instances json: an object with the lists "
                f"`images`, `annotations` and `categories`. Received: {name} without a list `{field}`, "
                f"{shown(content)}. Other formats must be converted first."
            )
    if not content["images"] or not content["categories"]:
        raise ValueError(
            f"Expected at least one image and one category. Received: {name} with {len(content['images'])} "
            f"images and {len(content['categories'])} categories. Is it the right file?"
        )


def read_images(entries: Sequence[object], findings: Findings) -> dict[int | str, dict[str, Any]]:
    """Returns {id: entry} of the images. `height` and `width` are int, or None if they are missing.

    Args:
        entries: The list `images` of the json.
        findings: `Findings`, to which repairs and refusals are added.
    """
    images = {}
    for index, entry in enumerate(entries):
        if _is_plain(entry) and entry["id"] not in images:  # fast path for nearly all entries
            images[entry["id"]] = {
                "id": entry["id"],
                "file_name": file_name_of(entry),
                "height": entry["height"],
                "width": entry["width"],
            }
            continue
        where = f"images[{index}]"
        if not isinstance(entry, dict):
            findings.refuse("each entry of `images` must be an object", f"{where}, {shown(entry)}")
            continue
        image = {
            "id": identity(entry.get("id")),
            "file_name": file_name_of(entry),
            "height": _side(entry, "height", where=where, findings=findings),
            "width": _side(entry, "width", where=where, findings=findings),
        }
        if image["id"] is None or image["id"] is UNCLEAR:
            findings.refuse(
                "`id` of an image must be a whole number or text", f"{where} with id={shown(entry.get('id'))}"
            )
        elif image["id"] not in images:
            images[image["id"]] = image
            note_id(entry["id"], image["id"], where=where, findings=findings)
        elif images[image["id"]] == image:
            findings.repair("an image was listed twice: it counts once", f"image {shown(image['id'])}")
        else:
            findings.refuse(
                "`id` of an image must be unique", f"{where} with id={shown(image['id'])}, which another has"
            )
    for image in images.values():
        if (image["height"] or 0) * (image["width"] or 0) > MAX_PIXELS:
            findings.refuse(f"an image must have at most {MAX_PIXELS} pixels", f"image {shown(image['id'])}")
    return images


def file_name_of(image: Mapping[str, Any]) -> Any:
    """Returns `file_name` of an entry of `images`, or the last two parts of `coco_url` as in LVIS.

    The value is not checked: it is None if the entry has neither, and may have any type.
    """
    url = image.get("coco_url")
    if "file_name" not in image and isinstance(url, str):
        return "/".join(url.split("/")[-2:])
    return image.get("file_name")


def _is_plain(entry: object) -> TypeGuard[dict[str, Any]]:
    """Returns whether an entry of `images` has valid integers as id, height and width."""
    if not isinstance(entry, dict):
        return False
    id, height, width = entry.get("id"), entry.get("height"), entry.get("width")
    return (
        type(id) is int
        and type(height) is int
        and type(width) is int
        and -MAX_EXACT < id < MAX_EXACT
        and 0 < height < MAX_EXACT
        and 0 < width < MAX_EXACT
    )


def _side(entry, field, *, where, findings):
    side = whole_number(entry.get(field))
    if side is UNCLEAR or (side is not None and side < 0):
        received = f"{where} with {field}={shown(entry.get(field))}"
        findings.refuse(f"`{field}` of an image must be a whole number of pixels", received)
        return None
    if isinstance(entry.get(field), str | float) and side:
        findings.repair(f"`{field}` was text or a float: it was read as a whole number", where)
    return side or None


def note_id(raw: object, known: object, *, where: str, findings: Findings) -> None:
    """Adds a repair if an id that is written as text or float was read as a whole number.

    Args:
        raw: The id in the file.
        known: The result of `identity` or `whole_number`.
        where: Name of the entry, for messages.
        findings: `Findings`, to which the repair is added.
    """
    if type(raw) is not int and type(known) is int:
        findings.repair("ids were text or floats: they were read as whole numbers", where)


def read_categories(
    entries: Sequence[object], used: Container[int], findings: Findings
) -> dict[int, Category]:
    """Returns {id: `Category`} in the order of the file.

    If two categories have the same name, only the one that annotations use is returned.

    Args:
        entries: The list `categories` of the json.
        used: Set of the category ids that annotations use.
        findings: `Findings`, to which repairs and refusals are added.
    """
    categories = {}
    for index, entry in enumerate(entries):
        category = _category(entry, f"categories[{index}]", findings)
        if category and category.id in categories:
            if categories[category.id] == category:
                findings.repair("a category was listed twice: it counts once", f"id {category.id}")
            else:
                findings.refuse("`id` of a category must be unique", f"{shown(category.name)}, {category.id}")
        elif category:
            categories[category.id] = category
    return _with_unique_names(categories, used, findings)


def _category(entry, where, findings):
    id, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
    id = whole_number(id)
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    if id is None or id is UNCLEAR or not isinstance(name, str) or not _is_text(name):
        findings.refuse(
            "a category needs an `id`, a whole number, and a `name`, text", f"{where}, {_fields(entry)}"
        )
        return None
    note_id(entry["id"], id, where=where, findings=findings)
    if name != entry["name"]:
        findings.repair("`name` of a category was a number: it was read as text", where)
    try:
        return read_category({**entry, "id": id, "name": name})
    except ValueError as error:
        findings.refuse(str(error), where)


def _fields(entry):
    fields = ("id", "name") if isinstance(entry, dict) else ()
    return ", ".join(f"{field}={shown(entry.get(field))}" for field in fields) or shown(entry)


def _is_text(name):
    """Returns whether a name is not empty and can be encoded (half a surrogate pair cannot)."""
    return bool(name.strip()) and not any("\ud800" <= character <= "\udfff" for character in name)


def _with_unique_names(categories, used, findings):
    by_name = collections.defaultdict(list)
    for category in categories.values():
        by_name[category.name].append(category.id)
    dropped = set()
    for name, ids in by_name.items():
        kept = [id for id in ids if id in used] or ids[:1]
        if len(kept) > 1:
            findings.refuse(
                "`name` of a category must be unique", f"{shown(name)} of ids {', '.join(map(str, kept))}"
            )
        elif len(ids) > 1:
            dropped |= set(ids) - set(kept)
            which = f"{shown(name)} of id {', '.join(str(id) for id in ids if id not in kept)}"
            findings.repair(
                "a category without objects had the name of another: it was left out",
                f"{which}; id {kept[0]} stays",
            )
    return {id: category for id, category in categories.items() if id not in dropped}


def read_references(
    entries: Iterable[tuple[int, object]],
    images: Container[int | str],
    category_ids: Container[object],
    *,
    findings: Findings,
) -> list[tuple[int, dict[str, Any]]]:
    """Returns (position, annotation) with cleaned ids, for all annotations of declared images.

    Args:
        entries: (position in the list `annotations`, entry) of each annotation.
        images: {id: entry}.
        category_ids: Set of the declared category ids.
        findings: `Findings`, to which repairs and refusals are added.
    """
    annotations = []
    for index, entry in entries:
        if not isinstance(entry, dict):
            findings.refuse(
                "each entry of `annotations` must be an object", f"annotations[{index}], {shown(entry)}"
            )
            continue
        image_id, category_id = identity(entry.get("image_id")), whole_number(entry.get("category_id"))
        id = identity(entry.get("id"))
        where = f"annotation {shown(entry.get('id'))}" if "id" in entry else f"annotations[{index}]"
        if image_id is None or image_id is UNCLEAR:
            findings.refuse(
                "`image_id` must be the id of an image", f"{where} with {shown(entry.get('image_id'))}"
            )
        elif image_id not in images:
            findings.repair(UNDECLARED_IMAGES, f"{where} of image {shown(image_id)}")
        elif category_id not in category_ids:
            findings.refuse(
                "`category_id` must be declared in `categories`",
                f"{where} with category_id={shown(entry.get('category_id'))}",
            )
        else:
            for raw, known in (
                (entry.get("id"), id),
                (entry["image_id"], image_id),
                (entry["category_id"], category_id),
            ):
                note_id(raw, known, where=where, findings=findings)
            known = {"id": id, "image_id": image_id, "category_id": category_id}
            annotations.append((index, {**entry, **known}))
    return annotations


def are_ids_unique(ids: Iterable[object], findings: Findings) -> bool:
    """Returns whether the ids of annotations are unique whole numbers; adds a repair for each problem.

    Args:
        ids: Ids of all annotations in the order of the file.
        findings: `Findings`, to which repairs are added.
    """
    counts = collections.Counter(ids)
    unclear = [id for id in counts if not isinstance(id, int)]
    repeated = [id for id, count in counts.items() if count > 1 and isinstance(id, int)]
    if not unclear and not repeated:
        if 0 in counts:
            findings.repair(
                "ids of annotations start at 0: scores here are right, but pycocotools takes 0 for no match",
                "id 0",
            )
        return True
    for id in unclear:
        findings.repair("an annotation had no whole number as `id`: all were numbered from 1", _id(id))
    for id in repeated:
        findings.repair("an annotation had the `id` of another: all were numbered from 1", f"id {id}")
    return False


def _id(id):
    return "id missing" if id is None else "an unclear id" if id is UNCLEAR else f"id {shown(id)}"
