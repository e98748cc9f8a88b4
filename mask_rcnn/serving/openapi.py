"""The OpenAPI 3.1 description of the server's API."""

from typing import Any

from mask_rcnn import __version__
from mask_rcnn.serving.detection_reply import DEFAULT_SCORE, MASKS, PICTURES
from mask_rcnn.serving.options import Options

JSON = "application/json"
NUMBER, INTEGER, TEXT, BOOLEAN = ({"type": name} for name in ("number", "integer", "string", "boolean"))
FILE = {"type": "string", "format": "binary"}
NUMBERS = {"type": "array", "items": NUMBER}

ERRORS = {
    "400": "The request is invalid. The message says what was expected and received.",
    "401": "The token is missing or wrong.",
    "404": "There is no such model or version.",
    "405": "The URL does not support this method.",
    "408": "The request was not received within the time limit.",
    "413": "The body or the image is too large.",
    "415": "The content type is not supported.",
    "429": "Too many images are waiting. Try again after the seconds in `Retry-After`.",
    "503": "The model is being loaded, or the server is shutting down.",
    "504": "The request was not answered within the time limit.",
}


def describe_api(options: Options) -> dict[str, Any]:
    """Returns the OpenAPI description, a dict.

    Args:
        options: Limits of the server. Uses `token`: whether requests need one.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mask-rcnn serve",
            "version": __version__,
            "description": "Detects objects and their masks in images. `/v1` is TensorFlow Serving's REST "
            "protocol. `/detect` takes an image file.",
        },
        "security": [] if options.token is None else [{"token": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {status: _error(text) for status, text in ERRORS.items()},
            "schemas": _schemas(),
        },
    }


def _paths():
    model = [_parameter("name", "path", TEXT)]
    version = [*model, _parameter("version", "path", {"type": "string", "pattern": "^[0-9]{1,18}$"})]
    paths: dict[str, Any] = {
        "/detect": {"post": _detect()},
        "/models": {"get": _get("The models and their classes.", _ref("Models"))},
        "/healthz": {"get": {**_get("Whether all models are loaded.", {"type": "object"}), "security": []}},
        "/metrics": {
            "get": _operation("Metrics for Prometheus.", {"text/plain": {"schema": TEXT}}, ("401", "503"))
        },
        "/openapi.json": {"get": _get("This description.", {"type": "object"})},
    }
    for prefix, parameters in (
        ("/v1/models/{name}", model),
        ("/v1/models/{name}/versions/{version}", version),
    ):
        paths[prefix] = {
            "parameters": parameters,
            "get": _get("Status of versions.", _ref("Status"), "400", "404"),
        }
        paths[f"{prefix}/metadata"] = {
            "parameters": parameters,
            "get": _get("The signatures of a model.", {"type": "object"}, "400", "404"),
        }
        paths[f"{prefix}:predict"] = {"parameters": parameters, "post": _predict()}
    return paths


def _detect():
    query = {
        "model": TEXT,
        "version": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "score": {"type": "number", "minimum": 0, "maximum": 1, "default": DEFAULT_SCORE},
        "masks": {"type": "string", "enum": list(MASKS), "default": MASKS[0]},
        "picture": {"type": "string", "enum": list(PICTURES)},
    }
    form = {"type": "object", "required": ["image"], "properties": {"image": FILE}}
    replies = {
        JSON: {"schema": _ref("Detections")},
        **{f"image/{name}": {"schema": FILE} for name in PICTURES},
    }
    errors = ("400", "401", "404", "408", "413", "415", "429", "503", "504")
    return {
        **_operation("The objects in an image file, as JSON or drawn.", replies, errors),
        "parameters": [_parameter(name, "query", schema) for name, schema in query.items()],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": FILE},
                "application/octet-stream": {"schema": FILE},
                "multipart/form-data": {"schema": form},
            },
        },
    }


def _predict():
    errors = ("400", "401", "404", "408", "413", "429", "503", "504")
    replies = {JSON: {"schema": _ref("Prediction")}}
    return {
        **_operation("TensorFlow Serving's predict.", replies, errors),
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref("PredictRequest")}}},
    }


def _get(text, schema, *errors):
    return _operation(text, {JSON: {"schema": schema}}, (*errors, "401", "503"))


def _operation(text, replies, errors):
    responses = {"200": {"description": text, "content": replies}}
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in errors}
    return {"summary": text, "responses": responses}


def _parameter(name, place, schema):
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _error(text):
    return {"description": text, "content": {JSON: {"schema": _ref("Error")}}}


def _ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required, **properties):
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(schema):
    return {"type": "array", "items": schema}


def _schemas():
    rle = _object("size counts", size=_list(INTEGER), counts=TEXT)
    category = _object("id name", id=INTEGER, name=TEXT)
    detection = _object(
        "category_id category score bbox",
        category_id=INTEGER,
        category=TEXT,
        score=NUMBER,
        bbox={**NUMBERS, "description": "x, y, width, height in pixels", "minItems": 4, "maxItems": 4},
        segmentation={"anyOf": [rle, _list(NUMBERS)], "description": "COCO RLE, or polygons"},
        keypoints={**NUMBERS, "description": "x, y, score of each keypoint. x and y are pixel indices"},
    )
    size = _object("width height", width=INTEGER, height=INTEGER)
    model = _object(
        "name versions kind classes masks",
        name=TEXT,
        versions=_list(TEXT),
        kind={"type": "string", "enum": ["weights", "saved_model", "tflite", "onnx"]},
        classes=_list(category),
        masks=BOOLEAN,
        keypoints={"type": "object"},
    )
    return {
        "Error": _object("error", error=TEXT),
        "Models": _object("models", models=_list(model)),
        "Detections": _object(
            "model version image seconds detections",
            model=TEXT,
            version=TEXT,
            image=size,
            seconds=NUMBER,
            detections=_list(detection),
        ),
        "Status": _object("model_version_status", model_version_status=_list({"type": "object"})),
        "PredictRequest": {
            "type": "object",
            "properties": {"signature_name": TEXT, "instances": {"type": "array"}, "inputs": {}},
            "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        },
        "Prediction": {
            "type": "object",
            "properties": {"predictions": {}, "outputs": {}},
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
        },
    }
