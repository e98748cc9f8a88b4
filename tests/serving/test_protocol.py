"""Tests of TensorFlow Serving's REST protocol, as its documentation describes it."""

import base64

import numpy as np
import pytest
from fake_model import fake_model, pixels, png
from fake_server import running

from mask_rcnn.serving import tensorflow_rest
from mask_rcnn.serving.request_error import RequestError


@pytest.fixture(scope="module")
def server():
    with running({"fruits": fake_model(), "nuts": fake_model()}) as one:
        yield one


def b64(contents):
    return {"b64": base64.b64encode(contents).decode("ascii")}


def ask(*values, form="instances", signature="image_bytes", **others):
    return {"signature_name": signature, form: list(values), **others}


def test_rows_of_files_are_answered_by_rows(server):
    reply = server.predict(ask(b64(png(red=204)), b64(png(red=51, green=1))))
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    first, second = reply.json()["predictions"]
    assert first["detection_scores"] == pytest.approx([0.8])
    assert first["detection_boxes"] == [[0, 0, 1, 0.5]]
    assert np.shape(first["detection_masks"]) == (1, 4, 4)
    assert second["detection_classes"] == [2]
    assert second["num_detections"] == 1


def test_columns_are_answered_by_columns(server):
    outputs = server.predict(ask(b64(png()), b64(png()), form="inputs")).json()["outputs"]
    assert outputs["num_detections"] == [1, 1]
    assert np.shape(outputs["detection_boxes"]) == (2, 1, 4)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_the_input_may_be_named(server, form):
    named = {"image_bytes": b64(png())} if form == "instances" else {"image_bytes": [b64(png())]}
    body = {"signature_name": "image_bytes", form: [named] if form == "instances" else named}
    assert server.predict(body).status == 200


def test_rows_behind_the_last_detection_of_the_call_are_zeros(server):
    reply = server.predict(ask(b64(png(red=204)), b64(png(red=0)), form="inputs")).json()["outputs"]
    assert reply["num_detections"] == [1, 0]
    assert reply["detection_scores"] == [[pytest.approx(0.8)], [0]]
    nothing = server.predict(ask(b64(png(red=0)))).json()["predictions"]
    assert nothing[0]["detection_boxes"] == []


def test_pixels_are_the_default_signature(server):
    body = {"instances": [pixels(red=102).tolist(), pixels(red=204).tolist()]}
    scores = [each["detection_scores"][0] for each in server.predict(body).json()["predictions"]]
    assert scores == pytest.approx([0.4, 0.8])


def test_base64_may_be_wrapped_and_unpadded(server):
    text = base64.b64encode(png()).decode("ascii").rstrip("=")
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert server.predict(ask({"b64": wrapped})).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"instances": [NaN]}', "JSON"),
        ("[1]", "a list"),
        ("{}", "neither"),
        ({"instances": [1], "inputs": [1]}, "instances and inputs"),
        ({"instances": []}, "an empty list"),
        ({"instances": 3}, "a number"),
        ({"inputs": {"b64": ""}}, "an object"),
        ({"instances": [1], "signature_name": "other"}, "image_bytes"),
        ({"instances": [1], "signature_name": [1]}, "signature"),
        ({"instances": [[[[1, 2, 3]]], {"input_tensor": 1}]}, "all"),
        ({"instances": [{"other": 1}]}, "input_tensor"),
        ({"instances": [[1, 2, 3]]}, r"shape \[3\]"),
        ({"instances": [[[[1, 2]]]]}, "shape"),
        ({"instances": [[[[1, 2, 3], [4, 5]]]]}, "equal lengths"),
        ({"instances": [[[[1, 2, 256]]]]}, "0 to 255"),
        ({"instances": [[[[1, 2, -1]]]]}, "0 to 255"),
        ({"instances": [[[[1, 2, 2**70]]]]}, "0 to 255"),
        ({"instances": [[[[1, 2, 0.5]]]]}, "whole numbers"),
        ({"instances": [[[[True, False, True]]]]}, "whole numbers"),
        ({"instances": [[[["1", "2", "3"]]]]}, "whole numbers"),
        ({"instances": [[[[None, None, None]]]]}, "whole numbers"),
        ({"instances": [[[]]]}, "shape"),
        ({"instances": [[[[1, 2, 3]]], [[[1, 2, 3]], [[1, 2, 3]]]]}, "one shape"),
        (ask({"b64": "***"}), "base64"),
        (ask({"b64": 3}), "b64"),
        (ask([b64(b"")]), "b64"),
        (ask(b64(b"no image")), r"instances\[0\]: .*image file"),
        (ask(b64(png()), b64(png()[:60])), r"instances\[1\]"),
        (ask("text"), "image file"),
    ],
)
def test_what_is_no_such_request_is_refused(server, body, message):
    reply = server.predict(body)
    assert reply.status == 400
    assert set(reply.json()) == {"error"}
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(reply.json()["error"])


def test_a_model_that_is_not_there_is_named_as_tensorflow_serving_does(server):
    reply = server.predict({"instances": [1.0, 5.0]}, name="half")
    assert reply.status == 404
    assert reply.json() == {"error": "Servable not found for request: Latest(half)"}
    specific = server.request("POST", "/v1/models/fruits/versions/7:predict", {"instances": [1]})
    assert (specific.status, specific.json()["error"]) == (
        404,
        "Servable not found for request: Specific(fruits, 7)",
    )


def test_status_lists_the_versions(server):
    expected = {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert server.get("/v1/models/fruits").json() == expected
    assert server.get("/v1/models/fruits/versions/1").json() == expected
    assert server.get("/v1/models/fruits/versions/2").status == 404
    assert server.get("/v1/models/other").status == 404
    assert server.get("/v1/models/fruits/versions/x").status == 400


def test_a_version_can_be_asked_for(server):
    path = "/v1/models/nuts/versions/1"
    assert server.request("POST", f"{path}:predict", ask(b64(png()))).status == 200
    assert server.get(f"{path}/metadata").json()["model_spec"] == {
        "name": "nuts",
        "signature_name": "",
        "version": "1",
    }


def test_metadata_tells_the_signatures(server):
    signatures = server.get("/v1/models/fruits/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "image_bytes"}
    image = signatures["serving_default"]["inputs"]["input_tensor"]
    assert image["dtype"] == "DT_UINT8"
    assert [dim["size"] for dim in image["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]
    assert signatures["image_bytes"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    boxes = signatures["image_bytes"]["outputs"]["detection_boxes"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in boxes] == ["-1", "-1", "4"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/models", 404),
        ("GET", "/v1/models/fruits/versions/1/other", 404),
        ("GET", "/detect", 405),
        ("POST", "/models", 405),
        ("DELETE", "/v1/models/fruits", 405),
        ("POST", "/v1/models/fruits:classify", 405),
        ("GET", "/%00%ff/../../etc/passwd", 404),
    ],
)
def test_other_urls_are_errors_in_the_same_form(server, method, path, status):
    reply = server.request(method, path)
    assert reply.status == status
    assert set(reply.json()) == {"error"}


def test_a_bad_image_fails_its_request_and_no_other(server):
    assert server.predict(ask(b64(png()), b64(b"GIF89a"))).status == 400
    assert server.predict(ask(b64(png()))).status == 200


def signature(dtype="string"):
    return {"serving_default": {"inputs": {"x": tensorflow_rest.tensor_info("x:0", dtype, (-1,))}}}


def test_a_single_output_has_no_name():
    call = tensorflow_rest.parse_predict(b'{"instances": ["foo", {"b64": "YmFy"}]}', signature())
    assert call.rows == (b"foo", b"bar")
    assert tensorflow_rest.encode_predict([{"y": 3.5}, {"y": 4.0}], call) == b'{"predictions": [3.5, 4.0]}'


def test_bytes_are_base64_and_other_strings_are_text():
    call = tensorflow_rest.parse_predict(b'{"inputs": ["foo"]}', signature())
    outputs = {"mask_bytes": np.array([b"\xff\x00"], object), "label": np.array(["fig"], object)}
    encoded = tensorflow_rest.encode_predict([outputs], call)
    assert encoded == b'{"outputs": {"mask_bytes": [[{"b64": "/wA="}]], "label": [["fig"]]}}'


def test_a_scalar_is_no_list_of_bytes():
    with pytest.raises(RequestError, match="b64"):
        tensorflow_rest.parse_predict(b'{"instances": [3]}', signature())
