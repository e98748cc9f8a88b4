"""Tests that a SavedModel agrees with the Keras model for all kinds of inputs."""

import concurrent.futures
import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mask_rcnn.config import KeypointHeadConfig
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.runners.outputs import to_detections, without_padding
from mask_rcnn.export.writers import saved_model
from mask_rcnn.model import build_parts
from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category

pytestmark = pytest.mark.kernels

CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))
SIZES = ((64, 96), (120, 90), (33, 150))


def shapes(count):
    """Returns the shapes of all outputs for an image with `count` rows of detections."""
    return {
        "detection_boxes": (count, 4),
        "detection_scores": (count,),
        "detection_classes": (count,),
        "detection_masks": (count, 28, 28),
        "num_detections": (),
        "image_info": (4, 2),
    }


# Other kernels and other batch sizes change the order of additions. A sum in another order equals the exact
# sum with weights that differ by a few units of float32 rounding (Higham 2002, section 3.1).
ROUNDING = 2.0**-23
MARGIN = 8  # factor on the largest difference from some random roundings of all weights


def picture(height, width):
    return np.random.default_rng(height).integers(0, 256, [height, width, 3]).astype("uint8")


def encode(image, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def example(contents):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[contents]))
    return tf.train.Example(
        features=tf.train.Features(feature={"image/encoded": feature})
    ).SerializeToString()


@pytest.fixture(scope="module")
def predictor(tiny_parts, tiny_config):
    return Predictor(tiny_parts, tiny_config, CATEGORIES)


@pytest.fixture
def folder(tiny_saved_model):
    return tiny_saved_model


@pytest.fixture(scope="module")
def model(tiny_saved_model):
    return tf.saved_model.load(str(tiny_saved_model))


def call(model, signature, value):
    return {name: output.numpy() for name, output in model.signatures[signature](tf.constant(value)).items()}


def rounding_tolerances(predictor):
    """Returns the tolerance of each output for rounding errors, measured with randomly rounded weights."""
    random = np.random.default_rng(0)
    parts = build_parts(predictor.config)
    rounded, largest = Runner(Predictor(parts, predictor.config, CATEGORIES)), {}
    for _ in range(3):
        for name, part in parts.named().items():
            weights = predictor.parts.named()[name].get_weights()
            part.set_weights([w * (1 + ROUNDING * random.normal(size=w.shape)) for w in weights])
        for size in SIZES:
            one, other = (without_padding(run(picture(*size))) for run in (Runner(predictor), rounded))
            for name in one:
                difference = np.abs(one[name] - other[name]).max(initial=0)
                largest[name] = max(largest.get(name, 0), difference)
    assert largest["detection_scores"] < 1e-4 and largest["detection_masks"] < 1e-3
    return {name: MARGIN * difference for name, difference in largest.items()}


@pytest.fixture(scope="module")
def tolerances(predictor):
    return rounding_tolerances(predictor)


def assert_says(outputs, index, expected, tolerances):
    """Asserts that row `index` of a batch equals the output of a runner for one image, up to rounding."""
    found = without_padding({name: outputs[name][index] for name in outputs})
    expected = without_padding(expected)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=tolerances[name], err_msg=name)


def test_pixels_of_a_batch_are_detected_as_keras_does(model, predictor, tolerances):
    images = np.stack([picture(70, 100), picture(70, 100)[::-1], picture(70, 100)[:, ::-1]])
    outputs = call(model, "serving_default", images)
    for index, image in enumerate(images):
        assert_says(outputs, index, Runner(predictor)(image), tolerances)


@pytest.mark.parametrize("signature", ["image_bytes", "tf_example"])
def test_files_of_different_sizes_are_detected_as_keras_does(model, predictor, tolerances, signature):
    wrap = {"image_bytes": lambda contents: contents, "tf_example": example}[signature]
    images = [picture(*size) for size in SIZES]
    files = [wrap(encode(image)) for image in images]
    outputs = call(model, signature, files)
    for index, image in enumerate(images):
        assert_says(outputs, index, Runner(predictor)(image), tolerances)
        alone = call(model, signature, files[index : index + 1])
        assert len(alone["detection_scores"][0]) == alone["num_detections"][0]
        row = {name: outputs[name][index] for name in outputs}
        for name, value in without_padding({name: alone[name][0] for name in alone}).items():
            np.testing.assert_array_equal(without_padding(row)[name], value, err_msg=name)


def test_outputs_have_the_names_and_shapes_of_the_object_detection_api(model):
    outputs = call(model, "image_bytes", [encode(picture(*size)) for size in SIZES])
    count = int(outputs["num_detections"].max())
    assert {name: value.shape for name, value in outputs.items()} == {
        name: (3, *shape) for name, shape in shapes(count).items()
    }
    assert {value.dtype for value in outputs.values()} == {np.dtype("float32")}
    assert outputs["detection_boxes"].min() >= 0 and outputs["detection_boxes"].max() <= 1
    assert set(np.unique(outputs["detection_classes"])) <= {0, 1, 2, 3}


def test_image_info_has_the_size_of_each_image(model):
    info = call(model, "image_bytes", [encode(picture(32, 48)), encode(picture(128, 96))])["image_info"]
    # The short side becomes 64, unless the long one would exceed 96.
    assert info[0].tolist() == [[32, 48], [64, 96], [2, 2], [0, 0]]
    np.testing.assert_allclose(info[1], [[128, 96], [85, 64], [85 / 128, 64 / 96], [0, 0]], rtol=1e-6)


def test_jpeg_is_decoded_and_turned_as_keras_sees_it(model, predictor, tolerances, tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # rotated by 90 degrees
    path = tmp_path / "turned.jpg"
    path.write_bytes(encode(picture(60, 100), "JPEG", exif=tags, quality=95))
    upright = read_image(path)
    assert upright.shape == (100, 60, 3)
    outputs = call(model, "image_bytes", [path.read_bytes()])
    assert_says(outputs, 0, Runner(predictor)(upright), tolerances)


def test_gray_and_transparent_files_are_images_too(model, predictor, tolerances):
    gray = picture(64, 96)[..., 0]
    outputs = call(model, "image_bytes", [encode(gray), encode(np.dstack([picture(64, 96), gray]))])
    assert_says(outputs, 0, Runner(predictor)(np.dstack([gray] * 3)), tolerances)
    assert_says(outputs, 1, Runner(predictor)(picture(64, 96)), tolerances)


@pytest.mark.parametrize(
    "bad", [b"", b"no image", encode(picture(64, 96), "JPEG")[:-200], encode(picture(64, 96))[:500]]
)
def test_a_bad_file_fails_the_call_with_its_index(model, bad):
    good = encode(picture(64, 96))
    for index, files in enumerate(([bad, good], [good, bad])):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"complete JPEG, PNG, GIF, BMP or WebP files.*\[{index}\]"
        ):
            call(model, "image_bytes", files)


def test_an_example_without_an_image_is_named(model):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/encoded"):
        call(model, "tf_example", [tf.train.Example().SerializeToString()])


@pytest.mark.parametrize(
    "image",
    [np.zeros([1, 8, 8, 3], "float32"), np.zeros([8, 8, 3], "uint8"), np.zeros([1, 8, 8, 4], "uint8")],
)
def test_pixels_of_another_kind_do_not_match_the_signature(model, image):
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError, TypeError)):
        call(model, "serving_default", image)


def test_images_without_pixels_are_refused(model):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at least 1 x 1 pixel.*\[0 8\]"):
        call(model, "serving_default", np.zeros([1, 0, 8, 3], "uint8"))


def test_an_empty_batch_has_empty_outputs(model):
    outputs = call(model, "image_bytes", np.zeros([0], "S1"))
    assert {name: value.shape for name, value in outputs.items()} == {
        name: (0, *shape) for name, shape in shapes(0).items()
    }


def test_the_limit_of_pixels_is_chosen_at_export(predictor):
    detect = saved_model.DetectionModule(predictor, [], max_pixels=63 * 96).endpoints["image_bytes"]
    files = [encode(picture(63, 96)), encode(picture(64, 96))]
    assert detect(tf.constant(files[:1]))["num_detections"].shape == (1,)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at most 6048 pixels.*\[1\] \[64 96\]"):
        detect(tf.constant(files))


def test_a_palette_is_read_as_colors(model, predictor, tolerances):
    file = io.BytesIO()
    Image.fromarray(picture(64, 96)).quantize(100).save(file, "BMP")
    expected = np.asarray(Image.open(file).convert("RGB"))
    assert_says(call(model, "image_bytes", [file.getvalue()]), 0, Runner(predictor)(expected), tolerances)


def test_an_image_of_8000_pixels_is_made_small(model, predictor, tolerances):
    image = picture(60, 8000)
    assert_says(call(model, "image_bytes", [encode(image)]), 0, Runner(predictor)(image), tolerances)


def test_threads_that_come_too_late_are_an_error(folder):
    tf.constant(0)
    with pytest.raises(RuntimeError, match="before TensorFlow's first op.*threads=7"):
        ExportedPredictor(folder, threads=7)


def test_two_loads_and_many_threads_say_the_same(folder, model):
    files = [encode(picture(*size)) for size in SIZES]
    expected = [call(model, "image_bytes", [file]) for file in files]
    for each in (tf.saved_model.load(str(folder)), model):
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda file, each=each: call(each, "image_bytes", [file]), files * 2))
        for one, other in zip(found, expected * 2, strict=True):
            for name in one:
                np.testing.assert_allclose(one[name], other[name], atol=1e-6, err_msg=name)


def test_it_loads_where_there_is_no_mask_rcnn(folder):
    program = """
import sys, json
sys.modules["mask_rcnn"] = sys.modules["keras"] = None  # importing them is an error
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
found = model(tf.zeros([1, 64, 96, 3], tf.uint8))
print(json.dumps({name: output.shape.as_list() for name, output in found.items()}))
"""
    words = [sys.executable, "-I", "-c", program, str(folder)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    count = found["detection_scores"][1]
    assert found == {name: [1, *shape] for name, shape in shapes(count).items()}


def test_labels_and_config_travel_along(folder, tiny_config):
    assert (folder / "assets/labels.txt").read_text() == "cat\ndog\ncow\n"
    assert json.loads((folder / "assets/categories.json").read_text())[2]["class"] == 3
    loaded = ExportedPredictor(folder)
    assert loaded.config == tiny_config
    assert loaded.categories == CATEGORIES


def test_it_stands_in_the_place_of_a_predictor(folder, predictor, tmp_path):
    image = picture(120, 90)
    path = tmp_path / "picture.png"
    path.write_bytes(encode(image))
    expected, found = predictor.predict(image), ExportedPredictor(folder).predict(path)
    assert found.image_size == (120, 90)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    for one, other in zip(found.masks, expected.masks, strict=True):
        assert np.mean(one != other) < 0.01


def test_images_of_one_size_are_detected_as_a_batch(folder, monkeypatch):
    exported, batches = ExportedPredictor(folder), []
    detect_batch = exported.runner.detect_batch
    monkeypatch.setattr(
        exported.runner, "detect_batch", lambda images: batches.append(len(images)) or detect_batch(images)
    )
    images = [picture(*size) for size in ((64, 96), (120, 90), (64, 96), (33, 150), (120, 90))]
    found = [detections for _, detections in exported.predict_many(images, batch_size=2)]
    assert sorted(batches) == [1, 2, 2]
    for image, one in zip(images, found, strict=True):
        other = exported.predict(image)
        np.testing.assert_array_equal(one.class_ids, other.class_ids)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)  # a batch changes the order of sums


def test_rows_after_the_last_detection_of_the_batch_are_cut_off():
    scores = tf.constant([[0.9, 0.8, 0.0, 0.0], [0.7, 0.0, 0.0, 0.0]])
    outputs = {"detection_scores": scores, "num_detections": tf.constant([2.0, 1.0])}
    outputs = saved_model._cut_padding({**outputs, "image_info": tf.zeros([2, 4, 2])})
    np.testing.assert_array_equal(outputs["detection_scores"], scores[:, :2])
    assert outputs["image_info"].shape == (2, 4, 2) and outputs["num_detections"].shape == (2,)


def test_where_nothing_is_found_there_are_no_rows(folder):
    model = tf.saved_model.load(str(folder))
    (bias,) = (weight for weight in model.weights if weight.name.startswith("class_logits/bias"))
    bias.assign([100.0, 0, 0, 0])  # always background
    outputs = call(model, "serving_default", picture(64, 96)[None])
    assert {name: value.shape[1:] for name, value in outputs.items()} == shapes(0)
    assert outputs["num_detections"] == 0
    assert (
        len(
            to_detections(
                {name: value[0] for name, value in outputs.items()}, (64, 96), paste="pixel_centers"
            )
        )
        == 0
    )


def test_keypoints_are_parts_of_the_image(tiny_parts, tiny_config):
    names = ("nose", "left_paw", "right_paw")
    head = KeypointHeadConfig(names=names, flip_pairs=("left_paw:right_paw",), convs=1, channels=16)
    config = dataclasses.replace(tiny_config, keypoint_head=head)
    parts = dataclasses.replace(
        tiny_parts, heads=tiny_parts.heads | {"keypoint_head": build_parts(config).heads["keypoint_head"]}
    )
    predictor, image = Predictor(parts, config, CATEGORIES), picture(50, 70)
    detect = saved_model.DetectionModule(predictor, []).endpoints["serving_default"]
    outputs = {name: output.numpy() for name, output in detect(image[None]).items()}
    count = int(outputs["num_detections"][0])
    assert outputs["detection_keypoints"].shape == (1, count, 3, 2)
    assert outputs["detection_keypoint_scores"].shape == (1, count, 3)
    assert_says(outputs, 0, Runner(predictor)(image), rounding_tolerances(predictor))


def test_an_exported_model_is_augmented_by_mirroring_alone(folder, tiny_parts, tiny_config):
    image = np.random.default_rng(3).integers(0, 256, (2, 64, 96, 3)).astype("uint8")
    exported = AugmentedPredictor(ExportedPredictor(folder))
    expected = AugmentedPredictor(Predictor(tiny_parts, tiny_config, CATEGORIES)).predict_many(list(image))
    for (_, found), (_, own) in zip(exported.predict_many(list(image), batch_size=2), expected, strict=True):
        assert len(found) == len(own) > 0
        np.testing.assert_allclose(found.boxes, own.boxes, atol=1e-3)
    with pytest.raises(ValueError, match="resizes images itself.*a scale of 2"):
        AugmentedPredictor(ExportedPredictor(folder), scales=(1.0, 2.0))
