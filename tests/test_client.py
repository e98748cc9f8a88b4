import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from fake_model import fake_model, pixels, png
from fake_server import running
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from mask_rcnn.client import Client, ServerError, decode_rle
from mask_rcnn.structures import encode_crop


@pytest.fixture(scope="module")
def server():
    with running({"fruits": fake_model()}, token="secret") as one:
        yield one


@pytest.fixture(scope="module")
def client(server):
    return Client(f"http://127.0.0.1:{server.port}/", token="secret")


def left_half():
    mask = np.zeros((6, 8), bool)
    mask[:, :4] = True
    return mask


def assert_is_left_half(found):
    assert len(found) == 1
    assert found.image_size == (6, 8)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 6, 4]])
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)
    np.testing.assert_array_equal(found.masks(), [left_half()])


def test_models_are_listed(client):
    assert [model["name"] for model in client.models()] == ["fruits"]


@pytest.mark.parametrize("kind", ["path", "bytes", "array"])
def test_detect_takes_files_bytes_and_arrays(client, tmp_path, kind):
    (tmp_path / "photo.png").write_bytes(png())
    found = client.detect({"path": tmp_path / "photo.png", "bytes": png(), "array": pixels()}[kind])
    assert_is_left_half(found)
    assert (found.class_names, found.class_ids.tolist()) == (("fig",), [4])


def test_detect_without_objects_or_masks(client):
    nothing = client.detect(png(red=0), "fruits", version=1)
    assert nothing.boxes.shape == (0, 4)
    assert nothing.crops is None
    with pytest.raises(ValueError, match="masks"):
        client.detect(png(), masks=False).mask(0)
    assert len(client.detect(png(red=102), score=0.3)) == 1


def test_predict_pastes_the_masks_of_files_and_pixels(client):
    first, second = client.predict([png(), png(red=0)], "fruits")
    assert_is_left_half(first)
    assert (len(second), second.masks().shape) == (0, (0, 6, 8))
    (found,) = client.predict(pixels()[None], "fruits", version=1)
    assert_is_left_half(found)
    assert found.class_ids.tolist() == [1]
    (found,) = client.predict([png()], "fruits", score=0.9)
    assert len(found) == 0


def test_the_picture_is_a_file(client):
    assert client.picture(png(size=(20, 20)), "fruits").startswith(b"\x89PNG")


def test_the_error_of_the_server_is_told(client, server):
    with pytest.raises(ServerError, match="404: Servable not found") as caught:
        client.predict([png()], "others")
    assert caught.value.status == 404
    with pytest.raises(ServerError, match="401"):
        Client(f"http://127.0.0.1:{server.port}").models()
    with pytest.raises(ServerError, match="Is the server running"):
        Client("http://127.0.0.1:1").models()


class _Other(BaseHTTPRequestHandler):
    """A server of another kind, which does not reply with JSON of `mask-rcnn serve`."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *arguments):
        pass


def test_another_server_is_an_error():
    with HTTPServer(("127.0.0.1", 0), _Other) as other:
        Thread(target=other.handle_request).start()
        with pytest.raises(ServerError, match="Expected JSON"):
            Client(f"http://127.0.0.1:{other.server_port}").models()


def test_keypoints_are_in_pixels_and_not_in_their_numbers(monkeypatch):
    entry = {
        "category_id": 1,
        "category": "person",
        "score": 1,
        "bbox": [1, 2, 3, 4],
        "keypoints": [5, 6, 0.5],
    }
    answer = {"image": {"width": 8, "height": 6}, "detections": [entry]}
    monkeypatch.setattr(Client, "_send", lambda *request: json.dumps(answer).encode())
    found = Client("").detect(b"")
    np.testing.assert_array_equal(found.keypoints, [[[5.5, 6.5, 0.5]]])
    np.testing.assert_array_equal(found.boxes, [[2, 1, 6, 4]])


@settings(deadline=None, max_examples=50)
@given(st_numpy.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 70))))
def test_run_lengths_are_decoded_as_they_were_encoded(mask):
    np.testing.assert_array_equal(decode_rle(encode_crop(mask, (0, 0), mask.shape)), mask)


def test_it_needs_neither_tensorflow_nor_the_rest_of_the_package():
    code = (
        "import sys, mask_rcnn.client; "
        "heavy = {'tensorflow', 'keras', 'cv2', 'PIL', 'pycocotools', 'absl'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
