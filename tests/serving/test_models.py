"""Tests that models of all formats behave equally behind the server."""

import base64
import contextlib
import functools
import io
import json

import numpy as np
import pytest
from fake_server import running
from PIL import Image

from mask_rcnn.client import Client
from mask_rcnn.export import export_model
from mask_rcnn.export.writers import lite, onnx
from mask_rcnn.serving import loading
from mask_rcnn.weights import save_weights

pytestmark = pytest.mark.slow
KINDS = ("weights", "saved_model", "tflite", "onnx")
WRITERS = {"tflite": lite, "onnx": onnx}
SIZE = (64, 96)  # size of the frame and of the images, so that no format resizes


@pytest.fixture(scope="module")
def path_of(tiny_parts, tiny_config, tiny_categories, tiny_saved_model, tmp_path_factory):
    """A function of a kind that returns the path of the tiny model in its format."""
    folder = tmp_path_factory.mktemp("served")
    weights = folder / "tiny.weights.h5"
    save_weights(weights, tiny_parts, tiny_config, categories=tiny_categories)

    @functools.cache
    def path_of(kind):
        path = {"weights": weights, "saved_model": tiny_saved_model}.get(kind, folder / f"tiny.{kind}")
        if kind in WRITERS:
            WRITERS[kind].export_job(weights, export_model.Options(size=SIZE)).write(path)
        return path

    return path_of


@pytest.fixture(scope="module")
def server_of(path_of):
    """A function of a kind that returns a server of the tiny model in its format, named after the kind."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def server_of(kind):
            models = {kind: loading.load_model(path_of(kind))}
            return stack.enter_context(running(models, timeout=300, patience=300))

        yield server_of


def image(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype="uint8")


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def b64(contents):
    return {"b64": base64.b64encode(contents).decode("ascii")}


def assert_same(found, expected):
    """Compares two elements of `predictions`."""
    assert found.keys() == expected.keys()
    assert found["num_detections"] == expected["num_detections"] > 0
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("signature", ["serving_default", "image_bytes"])
def test_predictions_are_those_of_the_weights(server_of, kind, signature):
    values = [image(0), image(1)]
    values = [b64(png(each)) if signature == "image_bytes" else each.tolist() for each in values]
    body = {"signature_name": signature, "instances": values}
    rows, expected = (server_of(name).predict(body, name).json() for name in (kind, "weights"))
    for row, wanted in zip(rows["predictions"], expected["predictions"], strict=True):
        assert_same(row, wanted)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_signatures_are_those_of_the_weights(server_of, kind):
    def signatures(kind):
        answer = server_of(kind).get(f"/v1/models/{kind}/metadata").json()
        definitions = answer["metadata"]["signature_def"]["signature_def"]
        return {
            (name, side, tensor): (info["dtype"], info["tensor_shape"])
            for name in ("serving_default", "image_bytes")
            for side in ("inputs", "outputs")
            for tensor, info in definitions[name][side].items()
        }

    assert signatures(kind) == signatures("weights")


@pytest.mark.parametrize("kind", KINDS)
def test_detect_and_predict_find_the_same(server_of, kind):
    client = Client(f"http://127.0.0.1:{server_of(kind).port}")
    contents = png(image(2))
    expected = client.detect(contents, kind, score=0)
    (found,) = client.predict([contents], kind)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    assert np.mean(found.masks() != expected.masks()) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_named_and_costs_nothing_else(server_of, kind):
    body = {"signature_name": "image_bytes", "instances": [b64(png(image())), b64(b"GIF89a")]}
    server = server_of(kind)
    reply = server.predict(body, kind)
    assert reply.status == 400
    assert "instances[1]" in reply.json()["error"]
    assert server.detect(png(image()), f"?model={kind}").status == 200


def test_examples_are_a_signature_of_the_saved_model(server_of):
    import tensorflow as tf

    server = server_of("saved_model")
    features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(image())]))}
    example = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    files = {"signature_name": "image_bytes", "inputs": [b64(png(image()))]}
    examples = {"signature_name": "tf_example", "inputs": [b64(example)]}
    found = server.predict(examples, "saved_model")
    assert found.json() == server.predict(files, "saved_model").json()
    assert server.predict({**examples, "inputs": [b64(b"no example")]}, "saved_model").status == 400
    assert server_of("weights").predict(examples, "weights").status == 400  # weights lack this signature


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_messages_of_tensorflow_serving(server_of, kind):
    pytest.importorskip("tensorflow_serving")
    from google.protobuf.json_format import MessageToDict, ParseDict
    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    status = server_of(kind).get(f"/v1/models/{kind}").json()
    message = ParseDict(status, GetModelStatusResponse())
    assert message.model_version_status[0].state == 30  # AVAILABLE
    everything = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    assert MessageToDict(message, **everything) == status
    metadata = server_of(kind).get(f"/v1/models/{kind}/metadata").json()
    message = ParseDict(metadata, GetModelMetadataResponse())
    signatures = SignatureDefMap()
    assert message.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["image_bytes"].method_name == "tensorflow/serving/predict"
    assert (message.model_spec.name, message.model_spec.version.value) == (kind, 1)


def test_outputs_are_the_tensors_of_a_predict_response(server_of, path_of):
    pytest.importorskip("tensorflow_serving")
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictResponse

    contents = [png(image(0)), png(image(1))]
    signature = tf.saved_model.load(str(path_of("saved_model"))).signatures["image_bytes"]
    response = PredictResponse()
    for name, tensor in signature(image_bytes=tf.constant(contents)).items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
    body = {"signature_name": "image_bytes", "inputs": [b64(each) for each in contents]}
    outputs = json.loads(server_of("saved_model").predict(body, "saved_model").body)["outputs"]
    assert outputs.keys() == set(response.outputs)
    for name, values in outputs.items():
        expected = tf.make_ndarray(response.outputs[name])
        assert np.shape(values) == expected.shape, name
        np.testing.assert_allclose(values, expected, atol=1e-6, err_msg=name)
