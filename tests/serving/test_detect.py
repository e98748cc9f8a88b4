import io
import json

import numpy as np
import pytest
from fake_model import FakePredictor, fake_model, png
from fake_server import running
from openapi_spec_validator import validate
from PIL import Image

from mask_rcnn.data.masks import full_mask


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


def form(contents, field="image"):
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'
    return head.encode() + contents + b"\r\n--x--\r\n"


def test_detections_are_coco_with_names(server):
    reply = server.detect(png(red=204, green=1))
    assert reply.status == 200
    found = reply.json()
    assert (found["model"], found["version"]) == ("fruits", "1")
    assert found["image"] == {"width": 8, "height": 6}
    assert found["seconds"] >= 0
    (entry,) = found["detections"]
    assert (entry["category_id"], entry["category"]) == (9, "nut")
    assert entry["score"] == pytest.approx(0.8)
    assert entry["bbox"] == [0, 0, 4, 6]
    expected = np.zeros((6, 8), bool)
    expected[:, :4] = True
    np.testing.assert_array_equal(full_mask(entry["segmentation"], 6, 8), expected)


def test_masks_are_polygons_or_none(server):
    (entry,) = server.detect(png(), "?masks=polygons").json()["detections"]
    (polygon,) = entry["segmentation"]
    corners = {(0, 0), (4, 0), (4, 6), (0, 6)}
    assert set(zip(polygon[::2], polygon[1::2], strict=True)) == corners
    (entry,) = server.detect(png(), "?masks=none").json()["detections"]
    assert "segmentation" not in entry


def test_the_score_is_a_limit(server):
    assert server.detect(png(red=102)).json()["detections"] == []
    assert len(server.detect(png(red=102), "?score=0.3").json()["detections"]) == 1


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_the_picture_is_drawn(server, format):
    reply = server.detect(png(size=(60, 80)), f"?picture={format}")
    assert reply.headers["Content-Type"] == f"image/{format}"
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.size == (80, 60)
        assert len(image.getcolors(100_000)) > 1


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "IMAGE/PNG; a=b"])
def test_a_file_is_the_body(server, kind):
    assert server.detect(png(), kind=kind).status == 200


def test_a_file_is_a_field_of_a_form(server):
    assert server.detect(form(png()), kind="multipart/form-data; boundary=x").status == 200


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (form(png(), "other"), "multipart/form-data; boundary=x", 400, "image"),
        (form(b""), "multipart/form-data; boundary=x", 400, "no bytes"),
        (form(png()), "multipart/form-data", 400, "form"),
        (b"--x", "multipart/form-data; boundary=x", 400, "image"),
        (b"", "image/png", 400, "no bytes"),
        (b"text", "image/png", 400, "the uploaded image"),
        (png()[:50], "image/png", 400, "the uploaded image"),
        (png(), "text/plain", 415, "text/plain"),
        (png(), "", 415, "Content-Type"),
    ],
)
def test_what_is_no_image_is_refused(server, body, kind, status, message):
    reply = server.detect(body, kind=kind)
    assert reply.status == status
    assert message in reply.json()["error"]


@pytest.mark.parametrize(
    "query",
    [
        "score=nan",
        "score=1.1",
        "score=x",
        "masks=all",
        "picture=gif",
        "version=x",
        "version=%C2%B2",
        "threshold=0.1",
        "score=0.1&score=0.2",
    ],
)
def test_a_wrong_parameter_is_refused(server, query):
    reply = server.detect(png(), f"?{query}")
    assert reply.status == 400
    assert "Received" in reply.json()["error"]


def test_several_models_are_told_apart_by_name():
    with running({"fruits": fake_model(), "nuts": fake_model()}) as server:
        assert server.detect(png()).status == 400
        assert server.detect(png(), "?model=nuts&version=1").json()["model"] == "nuts"
        assert server.detect(png(), "?model=others").status == 404
        assert server.detect(png(), "?model=nuts&version=2").status == 404


def test_models_are_described(server):
    assert server.get("/models").json() == {
        "models": [
            {
                "name": "fruits",
                "versions": ["1"],
                "kind": "weights",
                "classes": [{"id": 4, "name": "fig"}, {"id": 9, "name": "nut"}],
                "masks": True,
            }
        ]
    }


def test_the_page_and_its_files_need_no_token():
    with running(token="secret") as server:
        assert b"<title>" in server.get("/").body
        assert server.get("/static/app.js").headers["Content-Type"].startswith("text/javascript")
        assert server.get("/static/../index.html").status == 404
        assert server.get("/models").status == 401


def test_the_description_is_valid_openapi(server):
    description = server.get("/openapi.json").json()
    validate(description)
    assert description["openapi"].startswith("3.1")
    assert "/v1/models/{name}:predict" in description["paths"]


def test_metrics_count_requests_and_batches():
    with running() as server:
        server.detect(png())
        server.detect(b"no image")
        text = server.get("/metrics").body.decode()
    assert 'mask_rcnn_requests_total{endpoint="detect",status="200"} 1.0' in text
    assert 'mask_rcnn_requests_total{endpoint="detect",status="400"} 1.0' in text
    assert 'mask_rcnn_batch_images_count{model="fruits"} 1.0' in text
    assert 'mask_rcnn_waiting_images{model="fruits"} 0.0' in text
    assert "process_resident_memory_bytes" in text


def test_a_bug_is_an_error_without_a_stack_trace():
    predictor = FakePredictor()
    with running({"fruits": fake_model(predictor)}) as server:
        predictor.postprocess = lambda *arguments, **options: 1 / 0
        reply = server.detect(png())
    assert reply.status == 500
    assert "ZeroDivisionError" in reply.json()["error"]
    assert "Traceback" not in json.dumps(reply.json())
