"""Tests that data sets in TFRecord files are equal to their COCO annotations in every use."""

import dataclasses
import io
import json
import random
import re

import annotation_samples as samples
import numpy as np
import pytest
import tensorflow as tf
from cli_fakes import run
from PIL import Image
from shard_files import write_shards
from small_coco import read_small_coco
from training_batches import assert_equal, batches, config
from worker_transforms import tell_process

from mask_rcnn.config import DataConfig
from mask_rcnn.data import reader_cache
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.data.tfrecords import shards
from mask_rcnn.data.tfrecords.detection_example import BOX, LABEL, MASK, TEXT, WIDTH
from mask_rcnn.data.tfrecords.record_image import ENCODED
from mask_rcnn.data.tfrecords.tfrecord import decode_example, encode_example, read_records, write_record
from mask_rcnn.formats.conversion import read
from mask_rcnn.training.data_sources import check_sources

PATTERN = "shards/*.tfrecord"


def records_of(path):
    with open(path, "rb") as file:
        return [data for _, data in read_records(file, path)]


def rewrite(path, records):
    with open(path, "wb") as file:
        for record in records:
            write_record(file, record)


@pytest.fixture
def shapes(tmp_path):
    """Returns the annotations, the image folder and the pattern of the shards of one data set."""
    json_path, images_dir = write_shapes(tmp_path / "shapes", 6, (48, 64), seed=1)
    return json_path, images_dir, write_shards(json_path, images_dir, tmp_path / "shards", 2)[0]


def test_masks_boxes_classes_and_ids_survive_the_way_there_and_back(tmp_path):
    json_path = samples.write_coco(tmp_path)
    before = read("coco", json_path, tmp_path)
    pattern, findings = write_shards(json_path, tmp_path, tmp_path / "shards", 3)
    assert findings.lines() == [
        "images have an EXIF orientation, which other readers do not apply (1: b.jpg)"
    ]
    after = read("tfrecord", pattern, tmp_path / "images")
    assert after["images"] == before["images"] and after["categories"] == before["categories"]
    sizes = {image["id"]: (image["height"], image["width"]) for image in before["images"]}
    for ours, theirs in zip(after["annotations"], before["annotations"], strict=True):
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=1e-9)
        masks = [full_mask(each["segmentation"], *sizes[each["image_id"]]) for each in (ours, theirs)]
        np.testing.assert_array_equal(*masks)
        for key in ("image_id", "category_id", "iscrowd"):
            assert ours[key] == theirs[key]
        assert ours["area"] == pytest.approx(theirs["area"], rel=1e-6)
    for image in before["images"]:
        name = image["file_name"]
        assert (tmp_path / "images" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_keypoints_and_objects_without_a_mask_survive(tmp_path):
    read_small_coco(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["categories"].append({"id": 5, "name": "cup"})  # without keypoints and without objects
    del content["annotations"][0]["segmentation"]
    content["annotations"][2]["category_id"] = 5
    for key in ("keypoints", "num_keypoints"):
        del content["annotations"][2][key]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    pattern, findings = write_shards(tmp_path / "instances.json", tmp_path, tmp_path / "shards")
    assert re.match("objects without a mask got an empty mask.*1: annotation 1", *findings.lines())
    before, after = (read_annotations(each) for each in (tmp_path / "instances.json", pattern))
    assert after.categories == before.categories
    for ours, theirs in zip(after.annotations, before.annotations, strict=True):
        assert ours["keypoints"] == theirs["keypoints"]
        assert bool(ours["segmentation"]) == bool(theirs["segmentation"])
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=1e-9)


def test_tensorflow_reads_what_is_written(shapes):
    json_path, images_dir, pattern = shapes
    content = json.loads(json_path.read_text())
    text, number = tf.io.FixedLenFeature((), tf.string), tf.io.FixedLenFeature((), tf.int64)
    spec = {ENCODED: text, "image/format": text, "image/filename": text, "image/source_id": text}
    spec |= {"image/height": number, WIDTH: number}
    spec |= {name: tf.io.VarLenFeature(tf.float32) for name in (*BOX, "image/object/area")}
    spec |= {name: tf.io.VarLenFeature(tf.int64) for name in (LABEL, "image/object/is_crowd")}
    spec |= {name: tf.io.VarLenFeature(tf.string) for name in (TEXT, MASK)}
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = tf.data.TFRecordDataset(sorted(map(str, json_path.parents[1].glob(PATTERN))))
    for image, record in zip(content["images"], files, strict=True):
        found = tf.io.parse_single_example(record, spec)
        dense = {
            k: (tf.sparse.to_dense(v) if isinstance(v, tf.SparseTensor) else v) for k, v in found.items()
        }
        dense = {name: value.numpy() for name, value in dense.items()}
        assert dense[ENCODED] == (images_dir / image["file_name"]).read_bytes()
        assert dense["image/format"].decode() == ("jpeg" if image["file_name"].endswith("jpg") else "png")
        assert (dense["image/height"], dense[WIDTH]) == (48, 64)
        assert int(dense["image/source_id"]) == image["id"]
        annotations = [each for each in content["annotations"] if each["image_id"] == image["id"]]
        assert dense[LABEL].tolist() == [each["category_id"] for each in annotations]
        assert [name.decode() for name in dense[TEXT]] == [names[each["category_id"]] for each in annotations]
        for row, each in enumerate(annotations):
            x, y, width, height = each["bbox"]
            corners = [dense[name][row] * side for name, side in zip(BOX, (64, 48, 64, 48), strict=True)]
            np.testing.assert_allclose(corners, [x, y, x + width, y + height], atol=1e-4)
            mask = tf.io.decode_png(dense[MASK][row], channels=1).numpy()[..., 0]
            np.testing.assert_array_equal(mask, full_mask(each["segmentation"], 48, 64))


def test_the_files_keep_the_order_and_have_about_the_same_size(tmp_path):
    json_path, images_dir = write_shapes(tmp_path / "shapes", 30, (48, 64), seed=2)
    write_shards(json_path, images_dir, tmp_path / "pets", 5)
    paths = sorted((tmp_path / "pets").glob("*.tfrecord"))
    assert [path.name for path in paths] == [f"pets-{number:05d}-of-00005.tfrecord" for number in range(5)]
    sizes = [path.stat().st_size for path in paths]
    assert max(sizes) < 1.5 * min(sizes)
    records = [decode_example(data) for path in paths for data in records_of(path)]
    assert [int(each["image/source_id"][0]) for each in records] == list(range(1, 31))


def test_training_batches_are_those_of_the_json_to_the_bit(shapes):
    json_path, images_dir, pattern = shapes
    from_json, from_shards = read_coco(json_path, images_dir), read_coco(pattern)
    jitter = ("scale_jitter low=0.5 high=1.5", "color_jitter", "copy_paste")
    expected = batches(from_json, config(0, transforms=jitter))
    assert_equal(batches(from_shards, config(0, transforms=jitter)), expected)
    assert_equal(batches(from_shards, config(0, transforms=jitter), first_step=4), expected[4:])
    (batch,) = batches(
        from_shards, config(1, steps=1, resize="antialiased_uint8"), transforms=(tell_process,)
    )
    has_tensorflow, _, is_worker = batch["images"][0, 0, 0]
    assert (has_tensorflow, is_worker) == (0, 1)


def test_an_image_that_is_damaged_is_left_out_as_one_of_a_folder(shapes, tmp_path):
    path = tmp_path / "shards" / "shards-00001-of-00002.tfrecord"
    records = records_of(path)
    features = decode_example(records[1])
    features[ENCODED] = [features[ENCODED][0][:300]]
    rewrite(path, [records[0], encode_example(features), *records[2:]])
    dataset = read_coco(shapes[2], max_bad_images=0.2)
    assert len(dataset) == 5 and dataset.num_left_out == 1
    assert re.search(r"shards-00001-of-00002.tfrecord, record 1 \(00000\d.\w+\)", "\n".join(dataset.warnings))
    with pytest.raises(ValueError, match="Expected at most 1.0% of the images to be unusable"):
        read_coco(shapes[2])


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


DAMAGES = {
    "no feature image/encoded": {ENCODED: None},
    "image/encoded with whole numbers instead of bytes": {ENCODED: [3]},
    "no feature image/object/bbox/ymax": {BOX[3]: None},
    "image/object/bbox/ymax with 1 values instead of": {BOX[3]: [0.5]},
    "image/object/bbox/xmin with values that are not fractions": {BOX[0]: [float("nan")]},
    "neither image/object/class/label nor image/object/class/text": {LABEL: None, TEXT: None},
    "image/object/class/text that is not in UTF-8": {TEXT: [b"\xff"]},
    "image/width of 0": {WIDTH: [0]},
    "the size of its image. Received: image/object/mask of object 0": {MASK: [png(np.ones((2, 3), "uint8"))]},
    "Expected a complete PNG file. Received: image/object/mask of object 0": {MASK: [b"no image"]},
    "image/object/mask of object 0 of mode RGB": {MASK: [png(np.ones((48, 64, 3), "uint8"))]},
    "PNG file. Received: image/object/mask of object 0 .*truncated": {
        MASK: [png(np.random.default_rng(0).integers(0, 2, (48, 64), "uint8"))[:200]]
    },
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_record_is_an_error_with_file_and_number(message, shapes, tmp_path):
    path = tmp_path / "shards" / "shards-00000-of-00002.tfrecord"
    records = records_of(path)
    number = next(i for i, each in enumerate(records) if decode_example(each).get(MASK))
    features = decode_example(records[number])
    for name, values in DAMAGES[message].items():
        repeat = name in (BOX[0], TEXT, MASK)
        features[name] = values and values + features[name][1:] if repeat else values
    records[number] = encode_example(
        {name: values for name, values in features.items() if values is not None}
    )
    rewrite(path, records)
    with pytest.raises(ValueError, match=f"{path}, record {number}: .*{message}") as error:
        read_coco(shapes[2])
    assert "1 records or files cannot be read" in str(error.value)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_mutated_files_give_clear_errors_only(count, shapes, tmp_path):
    draw = random.Random(count)
    (path, *_) = sorted((tmp_path / "shards").glob("*.tfrecord"))
    contents, records, outcomes = path.read_bytes(), records_of(path), {True: 0, False: 0}
    for number in range(count):
        if number % 4 == 0:  # damages the file, which checksums detect
            damaged = mutated(contents, draw)
            path.write_bytes(damaged)
        else:  # damages a record, and corrects its checksum
            which = draw.randrange(len(records))
            rewrite(path, [mutated(each, draw) if i == which else each for i, each in enumerate(records)])
        try:
            read_coco(str(path), max_bad_images=0.9)
            outcomes[True] += 1
        except ValueError as error:
            assert path.name in str(error) and "Expected" in str(error)
            outcomes[False] += 1
    assert outcomes[True] and outcomes[False] > count // 4


def mutated(data, draw):
    """Returns bytes with a few bits flipped, or with bytes cut off, removed or repeated."""
    data, start = bytearray(data), draw.randrange(len(data))
    kind = draw.choice(["flip", "cut", "drop", "repeat"])
    if kind == "flip":
        for _ in range(draw.randint(1, 4)):
            data[draw.choice([start, draw.randrange(min(len(data), 400))])] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[start:]
    elif kind == "drop":
        del data[start : start + draw.randint(1, 20)]
    else:
        data[start:start] = data[start : start + draw.randint(1, 20)]
    return bytes(data)


def test_guesses_about_ids_names_and_classes_are_reported(shapes, tmp_path):
    (path, other) = sorted((tmp_path / "shards").glob("*.tfrecord"))
    (tmp_path / "shards" / "label_map.pbtxt").unlink()
    other.unlink()
    records = [decode_example(each) for each in records_of(path)]
    for features in records:
        features.pop(LABEL, None)
        features["image/source_id"], features["image/filename"] = [b"7"], [b"same.png"]
    rewrite(path, map(encode_example, records))
    dataset = read_coco(shapes[2])
    assert [image.id for image in dataset.images] == [
        7,
        *(f"{path.name}:{i}" for i in range(1, len(records))),
    ]
    assert len({image.path.name for image in dataset.images}) == len(records)
    assert [category.id for category in dataset.categories] == list(range(1, len(dataset.categories) + 1))
    report = "\n".join(dataset.warnings)
    for text in (
        "files of a numbered set of shards are missing (1: ",
        "`image/source_id` was missing or repeated",
        "`image/filename` was missing or repeated",
        "`class/label` was missing: classes are numbered",
    ):
        assert text in report, text


def test_a_label_of_two_names_is_an_error(shapes, tmp_path):
    (path, _) = sorted((tmp_path / "shards").glob("*.tfrecord"))
    records = [decode_example(each) for each in records_of(path)]
    for features in records:
        features |= {TEXT: [b"other"] * len(features[TEXT])} if TEXT in features else {}
    rewrite(path, map(encode_example, records))
    with pytest.raises(ValueError, match="label 2 is 'other' here and 'circle' elsewhere"):
        read_coco(shapes[2])


def test_the_command_converts_both_ways_and_checks(shapes, tmp_path, capsys):
    json_path, images_dir, _ = shapes
    out = tmp_path / "made"
    words = ["--images", images_dir, "--to", "tfrecord", "--split", "0.5", "--shards", "2"]
    assert run("data", "convert", json_path, out, *words) == 0
    names = sorted(path.name for path in out.iterdir())
    parts = [f"{part}-0000{n}-of-00002.tfrecord" for part in ("train", "val") for n in (0, 1)]
    assert names == ["label_map.pbtxt", *parts]
    pattern = out / "train-*.tfrecord"
    assert run("data", "convert", pattern, "--images", tmp_path / "photos", tmp_path / "back.json") == 0
    assert f"{pattern} is read as tfrecord" in capsys.readouterr().out
    dataset = read_coco(tmp_path / "back.json", tmp_path / "photos")
    assert len(dataset) == 3 and len(list((tmp_path / "photos").iterdir())) == 3
    assert run("data", "convert", pattern, "--images", tmp_path / "photos", tmp_path / "again.json") == 2
    assert "The folder for the images must be new or empty" in capsys.readouterr().err
    assert run("data", "convert", pattern, tmp_path / "again.json") == 2
    assert "Give the path of a new folder with `--images`" in capsys.readouterr().err
    assert run("data", "check", "--annotations", pattern, "--val-annotations", out / "val-*.tfrecord") in (
        0,
        1,
    )
    assert re.search(r"train: made/train-\*.tfrecord\n  images +3\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_annotations": "{shards}", "train_images": "."}, "TFRecord files contain their images"),
        ({"train_annotations": "absent-*.tfrecord"}, "'absent-\\*.tfrecord', which no file matches"),
        ({"train_annotations": "{shards}", "val_annotations": "a.json"}, "Annotations and the folder"),
    ],
)
def test_wrong_sources_are_errors(fields, message, shapes):
    with pytest.raises((ValueError, OSError), match=message):
        check_sources(DataConfig(**{name: value.format(shards=shapes[2]) for name, value in fields.items()}))
    check_sources(DataConfig(train_annotations=shapes[2], val_annotations=shapes[2]))


def test_a_file_that_changes_is_an_error_of_its_image(shapes, tmp_path):
    record = read_coco(shapes[2]).images[0]
    record.path.file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"record 0 \(000000.png\).*has changed"):
        read_image(record.path)


def test_a_large_set_is_read_once(shapes, monkeypatch, tmp_path):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(reader_cache, "MIN_BYTES", 1)
    first = shards.read_shards(shapes[2])
    monkeypatch.setattr(shards, "_read", None)  # a call would fail
    second = shards.read_shards(shapes[2])
    assert dataclasses.replace(second, findings=first.findings) == first
    assert second.findings.repairs == first.findings.repairs


def test_results_are_scored_and_samples_drawn_from_shards(shapes, tmp_path, capsys):
    json_path, _, pattern = shapes
    truth = json.loads(json_path.read_text())["annotations"]
    results = [{**each, "score": 1.0} for each in truth]
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert run("evaluate", "--detections", tmp_path / "results.json", "--annotations", pattern) == 0
    assert re.search(r"segm +1\.0", capsys.readouterr().out)
    words = ["--out", tmp_path / "preview.png", "--count", "2", "--tile", "64"]
    assert run("data", "preview", "--annotations", pattern, *words) == 0
    assert "2 samples" in capsys.readouterr().out
