"""Compares replies of KServe with those of the SavedModel and of `mask-rcnn serve`."""

import base64
import io
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from kserve_environment import KSERVE_PYTHON, needs_kserve
from locations import SERVING
from PIL import Image

pytestmark = [pytest.mark.slow, needs_kserve]
SECONDS_TO_START = 500  # the import of TensorFlow and KServe is slow on a busy machine
SIZES = ((64, 96), (90, 70))


def pictures():
    return [np.random.default_rng(size[0]).integers(0, 256, [*size, 3]).astype("uint8") for size in SIZES]


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def binary(contents):
    return {"b64": base64.b64encode(contents).decode()}


def post(url, content):
    """Returns the status and the JSON of a reply."""
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_START) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def kserve_url(tiny_saved_model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        KSERVE_PYTHON,
        SERVING / "kserve_model.py",
        "--model_name=tiny",
        f"--model_dir={tiny_saved_model}",
    ]
    server = subprocess.Popen([*words, f"--http_port={port}", "--enable_grpc=false"])
    url, deadline = f"http://127.0.0.1:{port}/v1/models/tiny", time.monotonic() + SECONDS_TO_START
    try:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as reply:
                    assert json.load(reply)["ready"]
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def test_answers_are_those_of_the_saved_model_and_of_our_server(kserve_url, tiny_saved_model):
    import tensorflow as tf

    from mask_rcnn.serving import tensorflow_rest
    from mask_rcnn.serving.loading import load_model

    model, images = load_model(tiny_saved_model), pictures()
    functions = tf.saved_model.load(str(tiny_saved_model)).signatures
    files = [encode(image) for image in images]
    for signature, request, argument in (
        ("image_bytes", [binary(file) for file in files], {"image_bytes": tf.constant(files)}),
        ("serving_default", [images[0].tolist()], {"input_tensor": tf.constant(images[0][None])}),
    ):
        content = {"signature_name": signature, "instances": request}
        status, answer = post(f"{kserve_url}:predict", content)
        assert status == 200
        direct = {name: output.numpy() for name, output in functions[signature](**argument).items()}
        call = tensorflow_rest.parse_predict(json.dumps(content).encode(), model.signatures)
        tasks = [model.signature_task(call.signature, row, 50_000_000) for row in call.rows]
        ours = json.loads(tensorflow_rest.encode_predict([run(task) for task in tasks], call))
        assert len(answer["predictions"]) == len(ours["predictions"]) == len(request)
        for index, (theirs, other) in enumerate(zip(answer["predictions"], ours["predictions"], strict=True)):
            assert theirs.keys() == direct.keys() == other.keys() and theirs["num_detections"] > 0
            for name in direct:
                np.testing.assert_allclose(theirs[name], direct[name][index], atol=1e-5)
                np.testing.assert_allclose(theirs[name], other[name], atol=1e-5)


def run(task):
    """Returns the result of a task of this package's server."""
    _, inputs, context = task.prepare()
    (outputs,) = task.run([inputs])
    return task.finish(outputs, context)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"signature_name": "image_bytes", "instances": [binary(b"no picture")]}, "counted from 0:] [0]"),
        ({"signature_name": "image_bytes", "instances": [{"b64": "%"}]}, 'Expected {"b64": "..."}'),
        ({"signature_name": "image_bytes", "instances": ["text"]}, 'Expected {"b64": "..."}'),
        ({"signature_name": "absent", "instances": [1]}, "Expected signature_name, one of"),
        ({"instances": []}, "Expected a list of one or more values"),
        ({"instances": [[[[0.5, 0, 0]]]]}, "Expected uint8 of shape"),
        ({"instances": [[1, 2], [3]]}, "Expected nested lists of equal lengths"),
    ],
)
def test_a_wrong_request_is_an_error_of_the_client(kserve_url, content, message):
    status, answer = post(f"{kserve_url}:predict", content)
    assert status == 400 and message in answer["error"]
