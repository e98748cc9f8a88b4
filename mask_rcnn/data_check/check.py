"""Runs all checks of a data set, or of a training set and a validation set."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from mask_rcnn.config import Config
from mask_rcnn.data.dataset_arrays import arrays_of, table_of_dataset
from mask_rcnn.data.input_pipeline.trainable import check_trainable
from mask_rcnn.data.readers.coco import CocoReading, read_with_reasons
from mask_rcnn.data.records import Dataset
from mask_rcnn.data_check.anchors import anchor_coverage, anchor_findings
from mask_rcnn.data_check.counts import count_dataset, count_findings, split_findings
from mask_rcnn.data_check.decoded_images import DecodedImages, concatenate_images, decode_images
from mask_rcnn.data_check.geometry import Annotations, geometry_findings
from mask_rcnn.data_check.image_kinds import bit_findings, pixel_findings
from mask_rcnn.data_check.reader_findings import (
    encoding_findings,
    is_about_annotation,
    left_out_findings,
    refusal_findings,
    repair_findings,
    warning_findings,
)
from mask_rcnn.data_check.report import Example, Finding, Report, Track, sorted_findings
from mask_rcnn.data_check.same_images import same_image_findings
from mask_rcnn.system.paths import AnyPath

TRAIN, VAL = "train", "val"
NOT_DECODED = (
    "image files were not decoded, so damaged files and duplicate, gray or rotated images were not detected."
)


@dataclass(frozen=True)
class CheckedSet:
    """A data set and the results of reading and decoding it.

    Args:
        dataset: `Dataset` of the images that are usable according to their headers.
        decoded: `DecodedImages` of them. Defaults to None: not decoded.
        reading: `CocoReading` of a COCO json. Defaults to None: not read from a COCO json.
    """

    dataset: Dataset
    decoded: DecodedImages | None = None
    reading: CocoReading | None = None

    def bad_files(self) -> set[int | str]:
        """Returns the set of the ids of images whose file cannot be used."""
        left_out = zip(self.reading.left_out, self.reading.reasons, strict=True) if self.reading else ()
        bad = {image["id"] for image, reason in left_out if not is_about_annotation(reason)}
        errors = self.decoded.errors if self.decoded else ()
        return bad | {self.dataset.images[index].id for index in errors}


def check_coco(
    sources: Mapping[str, tuple[AnyPath, AnyPath]],
    config: Config,
    config_name: str,
    *,
    decode: bool = True,
    track: Track | None = None,
) -> tuple[Report, dict[str, CheckedSet]]:
    """Checks COCO jsons and their images.

    Args:
        sources: `{"train": (path of the json, image folder)}`, optionally with "val".
        config: `Config` for the training.
        config_name: Name of the config in the report.
        decode: Whether to decode all images. Defaults to True.
        track: Function of (items, their number, a description) that yields the items and shows progress.
            Defaults to None: no progress.

    Returns:
        report: `Report`.
        sets: `{name: CheckedSet}` of the jsons that can be read.

    Raises:
        OSError: A json or an image folder does not exist or cannot be opened.
    """
    sets, findings = {}, []
    for name, (annotations, images) in sources.items():
        try:
            limits = {"max_pixels": config.data.max_pixels, **config.input.pixel_format}
            reading = read_with_reasons(annotations, images, **limits)
        except ValueError as error:
            findings += [dataclasses.replace(each, where=name) for each in refusal_findings(error)]
            continue
        decoded = _decoded(reading.dataset, config, track) if decode else None
        sets[name] = CheckedSet(reading.dataset, decoded, reading)
    return _report(sets, findings, config=config, config_name=config_name, decode=decode), sets


def check_dataset(
    dataset: Dataset, config: Config, config_name: str = "the given config", *, decode: bool = True
) -> Report:
    """Checks a `Dataset` of any reader.

    Args:
        dataset: `Dataset`.
        config, config_name, decode: As in `check_coco`. `config_name` defaults to "the given config".

    Returns:
        `Report`.
    """
    decoded = _decoded(dataset, config, None) if decode else None
    return _report(
        {TRAIN: CheckedSet(dataset, decoded)}, [], config=config, config_name=config_name, decode=decode
    )


def _decoded(dataset, config, track):
    paths = [image.path for image in dataset.images]
    progress = track and (lambda items: track(items, len(paths), "decoding images"))
    return decode_images(paths, config.data.max_pixels, settings=config.input, track=progress)


def _report(sets, findings, *, config, config_name, decode):
    counts, anchors = {}, None
    for name, checked in sets.items():
        arrays = arrays_of(checked.dataset)
        counts[name] = count_dataset(checked.dataset, arrays)
        counts[name]["images_left_out"] += len(checked.decoded.errors) if checked.decoded else 0
        set_findings = _findings(checked, arrays, counts=counts[name], config=config, name=name)
        if name == TRAIN and len(checked.dataset):
            anchors = anchor_coverage(checked.dataset, arrays, config)
            set_findings += anchor_findings(anchors, checked.dataset)
        findings += [dataclasses.replace(each, where=name) for each in set_findings]
    if len(sets) == 2:
        findings += split_findings(counts)
    if decode and sets:
        records = [image for checked in sets.values() for image in checked.dataset.images]
        splits = [name for name, checked in sets.items() for _ in checked.dataset.images]
        decoded = concatenate_images([checked.decoded for checked in sets.values() if checked.decoded])
        findings += same_image_findings(records, decoded, splits)
    return Report(
        config=config_name,
        sets=counts,
        findings=sorted_findings(findings),
        anchors=anchors,
        not_checked=() if decode else (NOT_DECODED,),
    )


def _findings(checked, arrays, *, counts, config, name):
    """Returns the findings of one data set."""
    dataset, reading, decoded = checked.dataset, checked.reading, checked.decoded
    names = [str(image["file_name"]) for image in reading.left_out] if reading else []
    reasons = list(reading.reasons) if reading else []
    for index, error in sorted(decoded.errors.items()) if decoded else ():
        names.append(dataset.images[index].path.name)
        reasons.append(error)
    total = len(dataset) + dataset.num_left_out
    findings = left_out_findings(names, reasons, max_bad_images=config.data.max_bad_images, num_images=total)
    if not len(dataset):
        return findings
    annotations = Annotations(dataset, table_of_dataset(dataset))
    findings += warning_findings(dataset.warnings)
    if reading:
        findings += encoding_findings(reading.entries.notes)
        findings += repair_findings(reading.entries.findings, annotations)
    findings += _trainable_findings(dataset, counts, config=config, name=name)
    findings += geometry_findings(annotations)
    findings += count_findings(dataset, arrays, counts, config=config, is_training_set=name == TRAIN)
    findings += bit_findings(dataset, config)
    return findings + (pixel_findings(dataset, decoded) if decoded else [])


def _trainable_findings(dataset, counts, *, config, name):
    """Returns the findings about objects that the heads cannot learn from."""
    if not counts["objects"]:
        severity = "error" if name == TRAIN else "warning"
        title = "There is no object" if name == TRAIN else "There is no object: AP cannot be measured"
        return [
            Finding(
                kind="no_objects",
                severity=severity,
                title=title,
                count=1,
                advice="Check that this is the right file. Crowd regions do not count as objects.",
            )
        ]
    try:
        check_trainable(dataset, config)
    except ValueError as error:
        problems = [line.strip() for line in str(error).splitlines()[1:]]
        return [
            Finding(
                kind="untrainable",
                severity="error",
                title="The heads of the config cannot learn from these objects",
                count=len(problems),
                advice="Change the data or the config as each line says.",
                examples=tuple(Example(text=problem) for problem in problems),
            )
        ]
    return []
