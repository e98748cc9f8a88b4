"""Converts messages of the reader to findings: content that it left out, repaired or refused."""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.readers.annotations import NOT_THE_BOX_OF_THE_MASK, OUT_OF_IMAGE
from mask_rcnn.data.readers.coco_entries import UNDECLARED_IMAGES
from mask_rcnn.data.readers.usable_images import REPEATED_OBJECT
from mask_rcnn.data.segmentations import NO_PIXEL, NO_POLYGON
from mask_rcnn.data_check.geometry import Annotations
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding

NAMED_ANNOTATION = re.compile(r"Received: annotation (-?\d+)\b ?(?:with )?")
# Other checks report these repairs with pictures.
FOUND_ELSEWHERE = (NOT_THE_BOX_OF_THE_MASK, OUT_OF_IMAGE, REPEATED_OBJECT)
LOSSES = (UNDECLARED_IMAGES, NO_PIXEL, NO_POLYGON)  # repairs that lose data


def refusal_findings(error: ValueError) -> list[Finding]:
    """Returns the findings for an error that the reader raised.

    Args:
        error: ValueError. A `RefusedContent` lists the refused entries.
    """
    advice = "Correct or remove them. The other checks can only run after that."
    refusals = getattr(error, "refusals", None)
    if not refusals:
        expected, received = _split(str(error))
        example = Example(text=received)
        return [
            Finding(
                kind="unreadable_json",
                severity="error",
                title=f"The annotation file cannot be read: {expected}",
                count=1,
                advice="Correct the file. The other checks can only run after that.",
                examples=(example,),
            )
        ]
    return [
        Finding(
            kind="unclear_entries",
            severity="error",
            title=f"Entries have no clear meaning: {kind}",
            count=count,
            advice=advice,
            examples=tuple(Example(text=str(where)) for where in examples),
        )
        for kind, (count, examples) in refusals.items()
    ]


def left_out_findings(
    images: Sequence[str], reasons: Sequence[str], *, max_bad_images: float, num_images: int
) -> list[Finding]:
    """Returns the findings about images that cannot be used, one for each kind of reason.

    Args:
        images: List of the names of their files.
        reasons: List of the error messages.
        max_bad_images: Maximum fraction of images that training may leave out.
        num_images: Number of images of the data set, including these.
    """
    stops = len(images) > max_bad_images * num_images or len(images) == num_images
    consequence = (
        f"Training stops: more than {max_bad_images:.1%} of the images cannot be used "
        "(`data.max_bad_images`)."
        if stops
        else "Training leaves these images out."
    )
    groups = collections.defaultdict(list)
    for name, reason in zip(images, reasons, strict=True):
        expected, received = _split(reason)
        named = NAMED_ANNOTATION.search(reason)
        annotation = int(named[1]) if named else None
        text = NAMED_ANNOTATION.sub("", f"Received: {received}").removeprefix("Received: ")
        kind = "bad_image" if annotation is None else "bad_annotation"
        field = "" if annotation is None else _field(expected)
        example = Example(text=text, image=name, annotation=annotation, field=field)
        groups[kind, re.sub(r"\d+", "...", expected)].append(example)
    return [
        Finding(
            kind=kind,
            severity="error" if stops else "warning",
            title=f"{TITLES[kind]}: {expected}",
            count=len(examples),
            advice=f"{consequence} {ADVICE[kind]}",
            examples=tuple(examples[:MAX_EXAMPLES]),
        )
        for (kind, expected), examples in groups.items()
    ]


TITLES = {
    "bad_image": "Images cannot be used because of their file",
    "bad_annotation": "Images cannot be used because of an annotation",
}
ADVICE = {
    "bad_image": "Correct the files, or use `--fix`, which removes the images.",
    "bad_annotation": "Correct the annotations, or use `--fix`, which removes these annotations.",
}


def is_about_annotation(reason: str) -> bool:
    """Returns whether an image is left out because of one of its annotations, not because of its file."""
    return bool(NAMED_ANNOTATION.search(reason))


def repair_findings(findings: Findings, annotations: Annotations) -> list[Finding]:
    """Returns the findings about repairs of the reader that other checks do not report.

    Args:
        findings: `Findings` of the reader.
        annotations: `Annotations` of the data set.
    """
    result = []
    for kind, (count, places) in findings.repairs.items():
        if kind in FOUND_ELSEWHERE:
            continue
        examples = tuple(_example(place, kind, annotations) for place in places)
        result.append(
            Finding(
                kind="repaired",
                severity="warning" if kind in LOSSES else "note",
                title=f"Repaired while reading: {kind}",
                count=count,
                advice="`mask-rcnn` reads it this way; other tools may not. `--fix` writes it out.",
                examples=examples,
            )
        )
    return result


def _example(place, kind, annotations):
    """Returns the example for a place such as "annotation 7"."""
    named = re.fullmatch(r"annotation (-?\d{1,18})", str(place))
    rows = np.flatnonzero(annotations.table.ids == int(named[1])) if named else np.zeros(0, int)
    return annotations.example(int(rows[0]), "", _field(kind)) if len(rows) else Example(text=str(place))


def encoding_findings(notes: Iterable[str]) -> list[Finding]:
    """Returns the findings about the encoding of the json. `notes` are sentences of the reader."""
    return [
        Finding(
            kind="encoding",
            severity="warning",
            title="The encoding of the json is not UTF-8",
            count=1,
            advice="Save it as UTF-8, or use `--fix`.",
            examples=(Example(text=note),),
        )
        for note in notes
    ]


def warning_findings(warnings: Sequence[str]) -> list[Finding]:
    """Returns a list with the finding about the warnings of a `Dataset` that is already read."""
    if not warnings:
        return []
    return [
        Finding(
            kind="reader_warnings",
            severity="warning",
            title="The reader left out or changed something",
            count=len(warnings),
            advice="Correct the files.",
            examples=tuple(Example(text=warning) for warning in warnings),
        )
    ]


def _split(message):
    """Returns the expected part of an error message, without its period, and the received part."""
    expected, _, received = message.partition(" Received: ")
    return expected.strip().removesuffix("."), received


def _field(sentence):
    """Returns the field of an annotation that a sentence is about, or ""."""
    named = re.search(r"`(\w+)`", sentence)
    if named:
        return named[1]
    about_mask = re.search(r"polygon|run.length", sentence, re.IGNORECASE)
    return "segmentation" if about_mask else "keypoints" if "keypoint" in sentence.lower() else ""
