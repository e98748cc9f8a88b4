"""A client for `mask-rcnn serve`. It needs only NumPy and the standard library, and imports no TensorFlow.

>>> from mask_rcnn.client import Client
>>> client = Client("http://127.0.0.1:8501")  # doctest: +SKIP
>>> found = client.detect("photo.jpg")  # doctest: +SKIP
>>> found.class_names, found.scores, found.masks()  # doctest: +SKIP

`Client.predict` uses TensorFlow Serving's REST protocol, so it also works with TensorFlow Serving.
"""

import base64
import http.client
import json
import struct
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.postprocessing.paste import paste_mask

ImageSource = Path | str | bytes | np.ndarray  # path of an image file, its bytes, or `[H, W, 3]` uint8 RGB

RLE_BITS = 5  # bits of a number in each character of a compressed RLE; the sixth bit says that more follow
RLE_FIRST = 48  # code of the character for 0
HALF_PIXEL = 0.5  # distance from the index of a pixel, which COCO uses, to its center


class ServerError(Exception):
    """The server refused a request, or could not be reached.

    Args:
        status: HTTP status. 0 without a reply.
        message: Error message of the server.
        retry_after: Value of the header Retry-After, seconds after which to try again. Defaults to None.
    """

    def __init__(self, status: int, message: str, retry_after: str | None = None):
        super().__init__(f"{status}: {message}" if status else message)
        self.status, self.message, self.retry_after = status, message, retry_after


@dataclass(frozen=True, eq=False, kw_only=True)
class ServerDetections:
    """The objects in an image that a server found, best first.

    Args:
        image_size: (height, width) of the upright image, pixels.
        boxes: `[N, 4]` float32, yxyx, pixels, far edge not included.
        scores: `[N]` float32, 0..1.
        class_ids: `[N]` int. From `detect`: category ids of the data set. From `predict`: classes, 1..K.
        class_names: N names. None from `predict`, because the protocol has no names.
        crops: N boolean masks `[h, w]`, each a crop of the image around an object. None without masks.
        origins: N pairs (y, x), the position of each crop in the image. None without masks.
        keypoints: `[N, J, 3]` float32, (x, y, score). Pixel i covers i to i + 1. None without keypoints.
    """

    image_size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    class_names: tuple[str, ...] | None = None
    crops: tuple[np.ndarray, ...] | None = None
    origins: tuple[tuple[int, int], ...] | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def mask(self, index: int) -> np.ndarray:
        """Returns the mask of one object in the size of the image, `[H, W]` bool."""
        if self.crops is None or self.origins is None:
            raise ValueError(
                "Expected masks in the reply. Received: none. Use a model with masks, and `masks=True`."
            )
        crop, (y, x) = self.crops[index], self.origins[index]
        mask = np.zeros(self.image_size, bool)
        mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return mask

    def masks(self) -> np.ndarray:
        """Returns the masks of all objects in the size of the image, `[N, H, W]` bool."""
        masks = [self.mask(index) for index in range(len(self))]
        return np.array(masks, bool).reshape(-1, *self.image_size)


class Client:
    """Sends images to a server.

    Args:
        url: URL of the server, such as http://127.0.0.1:8501.
        token: Token that the server requires. Defaults to None.
        timeout: Seconds to wait for a reply. Defaults to 60.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0):
        self._url, self._timeout = url.rstrip("/"), timeout
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def models(self) -> list[dict[str, Any]]:
        """Returns the models of the server.

        Returns:
            List with a dict for each model:

            - `name`: name of the model.
            - `versions`: list of its version numbers as text, newest first.
            - `kind`: "weights", "saved_model", "tflite" or "onnx".
            - `classes`: list of dicts with the `id` and the `name` of each class.
            - `masks`: bool, whether it has a mask head.
            - `keypoints`: with a keypoint head, `{class name: {"names": [...], "skeleton": [...]}}`.
        """
        return self._json("GET", "/models")["models"]

    def detect(
        self,
        image: ImageSource,
        model: str | None = None,
        *,
        version: int | None = None,
        score: float = 0.5,
        masks: bool = True,
    ) -> ServerDetections:
        """Returns the objects in an image as `ServerDetections`.

        Args:
            image: Path of an image file, its bytes, or `[H, W, 3]` uint8 RGB, which is sent as a PNG file.
            model: Name of the model. Defaults to None, for a server with one model.
            version: Version number. Defaults to None, the newest.
            score: Lowest score of the objects, 0..1. Defaults to 0.5.
            masks: Whether to request masks. Defaults to True.

        Raises:
            ServerError: The server refused the request, or could not be reached.
        """
        query = {"model": model, "version": version, "score": score, "masks": "rle" if masks else "none"}
        query = {name: value for name, value in query.items() if value is not None}
        path = f"/detect?{urllib.parse.urlencode(query)}"
        return _from_detect(self._json("POST", path, _image_bytes(image), "application/octet-stream"))

    def picture(self, image: ImageSource, model: str | None = None, *, score: float = 0.5) -> bytes:
        """Returns the image with the objects drawn, bytes of a PNG file. See `detect` for the arguments."""
        query = {"score": score, "picture": "png"} | ({} if model is None else {"model": model})
        path = f"/detect?{urllib.parse.urlencode(query)}"
        return self._send("POST", path, _image_bytes(image), "application/octet-stream")

    def predict(
        self,
        images: Sequence[ImageSource] | np.ndarray,
        model: str,
        *,
        version: int | None = None,
        signature: str | None = None,
        score: float = 0.0,
        paste: str = "pixel_centers",
    ) -> list[ServerDetections]:
        """Returns a list with a `ServerDetections` for each image, through TensorFlow Serving's protocol.

        Args:
            images: List of images as in `detect`, or `[B, H, W, 3]` uint8 RGB, which is sent as numbers.
            model: Name of the model.
            version: Version number. Defaults to None, the newest.
            signature: Name of the signature. Defaults to None: "image_bytes" for a list, "serving_default"
                for an array.
            score: Lowest score of the objects, 0..1. Defaults to 0.
            paste: Method of `mask_rcnn.postprocessing.paste` that resizes masks to the image. Defaults to
                "pixel_centers", the method of models trained with mask_rcnn.

        Raises:
            ServerError: The server refused the request, or could not be reached.
        """
        if isinstance(images, np.ndarray) and images.ndim == 4:
            values, default = images.tolist(), "serving_default"
        else:
            values = [{"b64": base64.b64encode(_image_bytes(image)).decode("ascii")} for image in images]
            default = "image_bytes"
        body = json.dumps({"signature_name": signature or default, "instances": values}).encode("utf-8")
        suffix = "" if version is None else f"/versions/{version}"
        path = f"/v1/models/{urllib.parse.quote(model)}{suffix}:predict"
        rows = self._json("POST", path, body, "application/json")["predictions"]
        return [_from_prediction(row, score, paste) for row in rows]

    def _json(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> Any:
        content = self._send(method, path, body, content_type)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ServerError(0, f"Expected JSON. Received: {content[:60]!r}. Check the URL.") from error

    def _send(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> bytes:
        """Returns the body of a reply; raises a `ServerError` for any status but 200."""
        headers = self._headers | ({} if content_type is None else {"Content-Type": content_type})
        request = urllib.request.Request(self._url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ServerError(error.code, _message(error), error.headers.get("Retry-After")) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(0, f"No reply from {self._url}: {reason}. Is the server running?") from error


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decodes COCO's compressed RLE, `{"size": [H, W], "counts": str}`, to `[H, W]` bool."""
    height, width = rle["size"]
    counts, number, shift = [], 0, 0
    for character in rle["counts"]:
        code = ord(character) - RLE_FIRST
        number |= (code & 31) << shift
        shift += RLE_BITS
        if code & 32:  # the number continues in the next character
            continue
        if code & 16:  # sign bit
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))  # relative to two counts before
        number, shift = 0, 0
    values = np.arange(len(counts)) % 2 == 1  # the first run is background
    return np.repeat(values, counts).reshape(width, height).T


def _image_bytes(image: ImageSource) -> bytes:
    """Returns the bytes of the image file of a path, of bytes, or of an array."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray):
        return encode_png(image)
    return Path(image).read_bytes()


def encode_png(image: np.ndarray) -> bytes:
    """Returns `[H, W, 3]` uint8 RGB as the bytes of a PNG file, with fast compression."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "An image must be an RGB array [H, W, 3] of uint8. "
            f"Received: shape={image.shape}, dtype={image.dtype}. "
            "Images of OpenCV are BGR: use image[..., ::-1]."
        )
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), "uint8")  # the first byte of a row is its filter, 0
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _from_detect(reply: Mapping[str, Any]) -> ServerDetections:
    """Converts the JSON reply of `POST /detect` to `ServerDetections`."""
    entries = reply["detections"]
    boxes = np.array([entry["bbox"] for entry in entries], "float64").reshape(-1, 4)  # xywh
    corners = np.concatenate([boxes[:, 1::-1], (boxes[:, :2] + boxes[:, 2:])[:, ::-1]], axis=1)  # yxyx
    crops = origins = keypoints = None
    if any("segmentation" in entry for entry in entries):
        crops, origins = zip(*(_crop(decode_rle(entry["segmentation"])) for entry in entries), strict=True)
    if any("keypoints" in entry for entry in entries):
        flat = np.array([entry["keypoints"] for entry in entries], "float32")
        keypoints = flat.reshape(len(entries), -1, 3) + np.array((HALF_PIXEL, HALF_PIXEL, 0), "float32")
    return ServerDetections(
        image_size=(reply["image"]["height"], reply["image"]["width"]),
        boxes=corners.astype("float32"),
        scores=np.array([entry["score"] for entry in entries], "float32"),
        class_ids=np.array([entry["category_id"] for entry in entries], "int64"),
        class_names=tuple(entry["category"] for entry in entries),
        crops=crops,
        origins=origins,
        keypoints=keypoints,
    )


def _crop(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the smallest crop of a mask that contains all its pixels, and (y, x) of its first pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros((0, 0), bool), (0, 0)
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return crop.copy(), (int(rows[0]), int(columns[0]))


def _from_prediction(row: Mapping[str, Any], score: float, paste: str) -> ServerDetections:
    """Converts one element of `predictions` to `ServerDetections`."""
    count = int(row["num_detections"])
    scores = np.array(row["detection_scores"][:count], "float32")
    kept = np.flatnonzero(scores >= score)
    size = np.array(row["image_info"][0], "float32")  # (height, width)
    image_size = (int(size[0]), int(size[1]))
    rows = {
        name: np.array(values[:count], "float32")[kept]
        for name, values in row.items()
        if name.startswith("detection_")
    }
    boxes = rows["detection_boxes"].reshape(-1, 4) * np.tile(size, 2)
    crops = origins = keypoints = None
    if "detection_masks" in rows:
        pasted = [
            paste_mask(mask, box, image_size, method=paste)
            for mask, box in zip(rows["detection_masks"], boxes, strict=True)
        ]
        crops, origins = tuple(crop for crop, _ in pasted), tuple(origin for _, origin in pasted)
    if "detection_keypoints" in rows:
        num_keypoints = len(row["detection_keypoints"][0]) if row["detection_keypoints"] else 0
        points = rows["detection_keypoints"].reshape(len(kept), num_keypoints, 2) * size  # yx
        point_scores = rows["detection_keypoint_scores"].reshape(len(kept), num_keypoints, 1)
        keypoints = np.concatenate([points[..., ::-1], point_scores], axis=-1)
    return ServerDetections(
        image_size=image_size,
        boxes=boxes,
        scores=rows["detection_scores"],
        class_ids=rows["detection_classes"].astype("int64"),
        crops=crops,
        origins=origins,
        keypoints=keypoints,
    )


def _message(error: urllib.error.HTTPError) -> str:
    """Returns the error message of a reply, or its first bytes if it has another form."""
    content = error.read(65536)
    try:
        return json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace") or error.reason
