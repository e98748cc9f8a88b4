"""Tests that a TFLite file agrees with the Keras model, and has built-in ops only."""

import dataclasses
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mask_rcnn.export.checks.verify import verify
from mask_rcnn.export.export_model import Options
from mask_rcnn.export.runners import lite_runner
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.writers import lite, lite_file, lite_quantize, onnx
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.export.writers.lite_graph import LiteGraph
from mask_rcnn.structures import Category
from mask_rcnn.weights import save_weights

CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(5, "cow"))
SIZES = ((64, 96), (120, 90), (33, 150))


def picture(height, width):
    return np.random.default_rng(height).integers(0, 256, [height, width, 3]).astype("uint8")


PICTURES = {f"{height} x {width}": picture(height, width) for height, width in SIZES}


@pytest.fixture(scope="module")
def predictor(tiny_parts, tiny_config):
    return lite.FramedPredictor(
        tiny_parts, tiny_config, CATEGORIES, metadata=lite.runner_metadata(tiny_config, (64, 96))
    )


@pytest.fixture(scope="module")
def content(tiny_tflite):
    """The bytes of the model without its associated files."""
    return tiny_tflite.read_bytes()[: lite_runner.Runner(tiny_tflite).metadata["model_bytes"]]


@pytest.fixture(scope="module")
def pack(predictor, tmp_path_factory):
    """A function of the bytes of a model that writes a file with associated files and returns its path."""
    assets = write_assets(predictor.config, CATEGORIES)

    def write(content):
        path = tmp_path_factory.mktemp("lite") / "model.tflite"
        path.write_bytes(lite_file.pack(content, assets, predictor.metadata))
        return path

    return write


@pytest.fixture
def file(tiny_tflite):
    return tiny_tflite


def test_it_says_what_keras_says_alone(file, predictor):
    report = verify(file, Runner(predictor), PICTURES, tolerance=lite.FLOAT32)
    assert report["outcome"] == "passed", report["problems"]
    assert report["worst"]["matched"] == report["worst"]["expected"] > 3


def test_all_operations_are_built_in(file):
    found = lite_file.operators(file.read_bytes())
    lite_file.check_operators(file.read_bytes())
    assert found["NON_MAX_SUPPRESSION_V4"] == 2 and found["CONV_2D"] > 50
    assert not [name for name in found if name.startswith("Flex") or name in ("CUSTOM", "VAR_HANDLE")]


def test_anchors_are_not_stored(file, predictor):
    weights = sum(4 * np.size(variable) for variable in predictor.model.variables)
    assert 0.95 * weights < file.stat().st_size < 1.1 * weights + 200_000


def test_names_of_inputs_and_outputs(file):
    interpreter, _ = lite_runner.import_interpreter()
    signature = interpreter(model_path=str(file)).get_signature_list()["serving_default"]
    assert sorted(signature["inputs"]) == ["image", "image_size"]
    assert sorted(signature["outputs"]) == [
        "detection_boxes",
        "detection_classes",
        "detection_masks",
        "detection_scores",
        "num_detections",
    ]


def test_associated_files_lie_in_a_zip_at_the_end(file):
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == [
            "categories.json",
            "config.yaml",
            "labels.txt",
            "labels_by_value.txt",
            "metadata.json",
        ]
        assert archive.read("labels.txt") == b"cat\ndog\ncow\n"
    assert lite_runner.Runner(file).labels == ("cat", "dog", "cow")


def test_nothing_found_is_zeros(tiny_parts, tiny_config):
    head = dataclasses.replace(tiny_config.box_head, score_threshold=1.0)
    config = dataclasses.replace(tiny_config, box_head=head)
    outputs = LiteGraph(tiny_parts, config, (64, 96)).function(
        image=tf.zeros([1, 64, 96, 3], tf.uint8), image_size=tf.constant([[64, 96]])
    )
    assert outputs["detection_masks"].shape == (1, 8, 28, 28)
    assert all(not np.any(output) for output in outputs.values())  # NaN would count as True


def test_a_frame_that_does_not_fit_the_strides_is_refused(tiny_parts, tiny_config):
    with pytest.raises(ValueError, match=r"multiples of 32. Received: size=\(60, 96\)"):
        LiteGraph(tiny_parts, tiny_config, (60, 96))


@pytest.fixture(scope="module")
def weights(tiny_parts, tiny_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    save_weights(path, tiny_parts, tiny_config, categories=CATEGORIES)
    return path


def test_fewer_proposals_and_detections_are_an_option(weights):
    options = Options(size=(64, 64), proposals=7, detections=3)
    config = lite.framed_predictor(weights, options).config
    assert (config.rpn.post_nms, config.box_head.max_detections) == (7, 3)


def test_the_frame_of_the_config_holds_its_landscape_pictures(tiny_config):
    assert lite.default_size(tiny_config.input) == (64, 96)


def test_a_frame_that_does_not_fit_is_refused_before_the_weights_are_read(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "read_header", lambda path: (tiny_config, CATEGORIES))
    path = tmp_path / "empty.weights.h5"
    path.touch()
    with pytest.raises(ValueError, match=r"Use --size 64 96"):
        lite.framed_predictor(path, Options(size=(40, 70)))


def test_int8_weights(content, predictor, pack):
    path = pack(lite_quantize.quantize(content, "dynamic"))
    assert path.stat().st_size < 0.4 * len(content)
    report = verify(path, Runner(predictor), PICTURES, tolerance=lite.TOLERANCE["dynamic"])
    assert report["worst"]["matched"] > 0


def test_int8_convolutions_with_boxes_in_float(content, predictor, pack):
    inputs = [lite.graph_inputs(image, predictor) for image in PICTURES.values()]
    quantized = lite_quantize.quantize(content, "int8", inputs)
    lite_file.check_operators(quantized)
    found = lite_file.operators(quantized)
    assert found["QUANTIZE"] > 0 and found["DEQUANTIZE"] > 0
    assert len(quantized) < 0.4 * len(content)
    runner = lite_runner.Runner(pack(quantized))
    for name, image in PICTURES.items():
        assert all(np.isfinite(output).all() for output in runner(image).values()), name


@pytest.mark.slow
def test_half_precision_weights(content, predictor, tmp_path):
    path = tmp_path / "model.tflite"
    lite.write_file(path, predictor, method="float16")
    assert path.stat().st_size < 0.6 * len(content)
    report = verify(path, Runner(predictor), PICTURES, tolerance=lite.TOLERANCE["float16"])
    assert report["worst"]["matched"] > 0


@pytest.mark.slow
def test_command_line_int8(weights, tmp_path):
    for name, image in PICTURES.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    plan = lite.export_job(
        weights, Options(size=(64, 96), quantize="int8", calibration=tuple(tmp_path.iterdir()))
    )
    plan.write(tmp_path / "model.tflite")
    assert plan.least_bytes < (tmp_path / "model.tflite").stat().st_size < 4 * plan.least_bytes


@pytest.fixture(scope="module")
def onnx_file(predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.write(path, predictor, pytest.importorskip("tf2onnx"))
    return path


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)


@pytest.mark.slow
def test_no_onnx_node_is_deprecated(onnx_file):
    library = pytest.importorskip("onnx")
    model = library.load(onnx_file)
    library.checker.check_model(model, full_check=True)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    modes = 0
    for node in all_nodes(model.graph):
        schema = library.defs.get_schema(node.op_type, versions[node.domain], node.domain)
        assert not schema.deprecated, node.op_type
        for attribute in node.attribute:
            assert attribute.name in schema.attributes, (node.op_type, attribute.name)
            if attribute.name in ("mode", "coordinate_transformation_mode", "nearest_mode"):
                modes += 1
                described = schema.attributes[attribute.name].description
                assert attribute.s.decode() in re.findall(r"\w+", described), (node.op_type, attribute.s)
    assert modes > 3


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 6), (4, 7), (5, 3), (7, 10)])
def test_the_resize_mode_that_replaces_a_deprecated_one_reads_the_same_pixels(inputs, outputs):
    library = pytest.importorskip("onnx")
    from onnxruntime import InferenceSession

    def resized(replace):
        modes = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
        names = ["x", "", "", "sizes"]
        node = library.helper.make_node("Resize", names, ["y"], mode="nearest", **modes)
        value, types = library.helper.make_tensor_value_info, library.TensorProto
        rows = [value("x", types.FLOAT, [1, 1, 1, inputs]), value("sizes", types.INT64, [4])]
        graph = library.helper.make_graph([node], "g", rows, [value("y", types.FLOAT, None)])
        if replace:
            onnx.replace_deprecated_resize(graph)
        opset = [library.helper.make_opsetid("", onnx.OPSET)]
        model = library.helper.make_model(graph, opset_imports=opset, ir_version=10)
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pixels = np.arange(inputs, dtype="float32").reshape(1, 1, 1, -1)
        return session.run(None, {"x": pixels, "sizes": np.array([1, 1, 1, outputs])})[0]

    np.testing.assert_array_equal(resized(True), resized(False))


@pytest.mark.slow
def test_onnx_says_what_keras_says_alone(onnx_file, predictor):
    path = onnx_file
    report = verify(path, Runner(predictor), PICTURES, tolerance=lite.FLOAT32)
    assert report["outcome"] == "passed", report["problems"]
    assert lite_runner.Runner(path).labels == ("cat", "dog", "cow")


def test_a_flex_operation_is_refused():
    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 1])])
    def crop(image):
        return tf.image.crop_and_resize(image, [[0.0, 0.0, 1.0, 1.0]], [0], [4, 4])

    converter = tf.lite.TFLiteConverter.from_concrete_functions([crop.get_concrete_function()], crop)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(ValueError, match="Received: FlexCropAndResize"):
        lite_file.check_operators(converter.convert())


def test_variables_without_values_are_refused(tmp_path):
    module = tf.Module()
    module.total = tf.Variable([1.0, 2.0])
    add = tf.function(module.total.assign_add, [tf.TensorSpec([2])], autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures=add)
    with pytest.raises(ValueError, match="Expected the weights in the file"):
        lite_file.check_operators(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert())


def test_the_runner_is_one_file_that_needs_no_tensorflow(file, tmp_path):
    Image.fromarray(picture(64, 96)).save(tmp_path / "photo.png")
    shutil.copy(lite_runner.__file__, tmp_path)
    script = (
        f"import runpy, sys; sys.argv = ['', {str(file)!r}, 'photo.png', '--out', 'found.png', "
        f"'--score', '0.05']; runpy.run_path('lite_runner.py', run_name='__main__'); "
        "assert not {'tensorflow', 'keras', 'mask_rcnn', 'cv2'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split()[0] in ("cat", "dog", "cow")
    with Image.open(tmp_path / "found.png") as found:
        assert found.size == (96, 64)
