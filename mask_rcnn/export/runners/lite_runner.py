"""Runs a TFLite or ONNX file of `mask-rcnn export` without mask_rcnn or TensorFlow.

To use it on a device, copy this file and the model there. It needs NumPy and the runtime: `pip install
ai-edge-litert numpy`, or tflite-runtime; for ONNX `pip install onnxruntime numpy`. Pillow reads image files
(`pip install Pillow`).

    python lite_runner.py model.tflite photo.jpg --out found.png

In a program:

    runner = Runner("model.tflite")
    found = runner(image)  # [H, W, 3] uint8, RGB
    mask, (y, x) = paste(found["detection_masks"][0], found["detection_boxes"][0], image.shape[:2])

Letters: H W the image, h w the frame that the model sees, M side of a mask, S of a heatmap, J keypoints.
"""

import argparse
import hashlib
import importlib.metadata
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Runs the model: `{input name: array}` to `{output name: array}`.
Run = Callable[[Mapping[str, np.ndarray]], dict[str, Any]]

THRESHOLD = 0.5  # lowest mask probability of a pixel that belongs to an object (Mask R-CNN, section 3.1)
HALF_PIXEL = 0.5  # distance from the index of a pixel to its center
FAR_EDGE = (0, 0, 1, 1)  # added to a box that names its last pixel, gives one that names its far edge
CUBIC = -0.75  # slope at distance 1 of OpenCV's cubic interpolation
OVERLAY = 0.5  # opacity of masks in the output image

ASSETS = ("labels.txt", "metadata.json")  # files that a runner reads
MAX_ASSET = 1 << 24  # largest size of all associated files together, bytes
TFLITE_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of a TFLite file
# Start of the last 76 bytes of an ONNX file: a metadata entry with the SHA-256 of the bytes before it.
ONNX_CHECKSUM = b"\x72\x4a\x0a\x06sha256\x12\x40"
ONNX_CHECKSUM_BYTES = 76


class Runner:
    """Runs a TFLite or ONNX file on images of any size.

    Args:
        path: Path of the file.
        threads: Number of threads that the runtime may use. Defaults to None, the runtime's own choice.

    Attributes:
        assets: `{file name: text}` of the files in the model: `labels.txt`, `categories.json`, `config.yaml`,
            `metadata.json`.
        metadata: Dict of `metadata.json`.
        labels: Tuple of class names. Class i is `labels[i - 1]`.
        versions: `{package: version}` of the runtime.

    Call arguments:
        image: `[H, W, 3]` uint8 RGB, or the `channels` and `dtype` of `metadata.json`.

    Returns:
        `{name: array}` of:

        - `detection_boxes`: `[D, 4]`, yxyx as fractions of the image, 0..1, best first.
        - `detection_scores`: `[D]`, 0..1.
        - `detection_classes`: `[D]`, 1..K; 0 in padding rows.
        - `num_detections`: `[]`, number of detections. The rows after them are padding.
        - `detection_masks`: `[D, M, M]`, probabilities on a grid inside the box, with a mask head.
        - `detection_keypoints`: `[N, J, 2]`, yx as fractions of the image, with a keypoint head. N is
          `num_detections`.
        - `detection_keypoint_scores`: `[N, J]`, 0..1, with a keypoint head.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        load = load_onnx if str(path).endswith(".onnx") else load_tflite
        self._run, self.assets, package = load(path, threads)
        self.metadata = read_metadata(self.assets, path)
        self.labels = tuple(self.assets["labels.txt"].splitlines())
        self.versions = {package: importlib.metadata.version(package)}

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        frame, resized, _ = letterbox(image, self.metadata)
        outputs = self._run({"image": frame[None], "image_size": np.array([resized], "int32")})
        found = {name: output[0] for name, output in outputs.items()}
        size = np.array(image.shape[:2], "float32")
        if "detection_keypoint_heatmaps" in found:
            heatmaps = found.pop("detection_keypoint_heatmaps")
            count = int(found["num_detections"])
            boxes = found["detection_boxes"][:count] * np.tile(resized, 2)
            keypoints = decode_keypoints(heatmaps[:count], boxes)  # [N, J, 3]
            shift = 0.0 if self.metadata["half_pixel"] else HALF_PIXEL
            found["detection_keypoints"] = (keypoints[..., :2] / resized + shift / size).astype("float32")
            found["detection_keypoint_scores"] = keypoints[..., 2]
        if self.metadata["inclusive_boxes"]:
            found["detection_boxes"] = whole_pixels(found["detection_boxes"], resized, size)
        return found


def load_tflite(path: Path | str, threads: int | None) -> tuple[Run, dict[str, str], str]:
    """Loads a TFLite file.

    Args:
        path: Path of the file.
        threads: Int or None, as in `Runner`.

    Returns:
        Function of `{input name: array}` that returns `{output name: array}`; the associated files `{file
        name: text}`; and the pip package of the runtime.
    """
    assets = read_associated_files(path)
    check_flatbuffer(path, read_metadata(assets, path))
    interpreter, package = import_interpreter()
    model = interpreter(model_path=str(path), num_threads=threads)
    signature = model.get_signature_runner()
    return lambda inputs: signature(**inputs), assets, package


def load_onnx(path: Path | str, threads: int | None) -> tuple[Run, dict[str, str], str]:
    """Loads an ONNX file; arguments and results are those of `load_tflite`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "An ONNX file needs a runtime. Received: onnxruntime cannot be imported. "
            "Run `pip install onnxruntime`."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors
    content = read_onnx(path)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run, session.get_modelmeta().custom_metadata_map, "onnxruntime"


def import_interpreter() -> tuple[type[Any], str]:
    """Returns the class that runs TFLite files, and the name of its pip package."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter, "ai-edge-litert"
    except ImportError:
        pass
    try:
        from tflite_runtime.interpreter import Interpreter

        return Interpreter, "tflite-runtime"
    except ImportError as error:
        raise ImportError(
            "A TFLite file needs a runtime. Received: neither ai_edge_litert nor tflite_runtime can be "
            "imported. Run `pip install ai-edge-litert`."
        ) from error


def read_associated_files(path: Path | str) -> dict[str, str]:
    """Returns the text files in the zip archive at the end of a TFLite file, `{file name: text}`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_ASSET:
                raise damaged(path, "its associated files are too large")
            return {member.filename: archive.read(member).decode("utf-8") for member in members}
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError, EOFError) as error:
        raise damaged(path, f"its associated files cannot be read: {error}") from error


def read_metadata(assets: Mapping[str, str], path: Path | str) -> dict[str, Any]:
    """Returns the dict of `metadata.json`, after checking that it has all that a runner needs.

    Args:
        assets: `{file name: text}`.
        path: Path of the model, for the error messages.
    """
    missing = [name for name in ASSETS if name not in assets]
    if missing:
        raise damaged(path, f"without {', '.join(missing)}")
    try:
        metadata = json.loads(assets["metadata.json"])
    except (json.JSONDecodeError, RecursionError) as error:
        raise damaged(path, f"metadata.json is not JSON: {error}") from error
    size = metadata.get("size") if isinstance(metadata, dict) else None
    if not (
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    ):
        raise damaged(path, "metadata.json has no `size` of two sides")
    names = ("resize", "size_rounding", "centered", "inclusive_boxes", "half_pixel")
    if missing := [name for name in names if name not in metadata]:
        raise damaged(path, f"metadata.json has no {', '.join(missing)}")
    return metadata


def check_flatbuffer(path: Path | str, metadata: Mapping[str, Any]) -> None:
    """Raises a ValueError if a TFLite file is damaged. Interpreters do not notice all damage."""
    size = metadata.get("model_bytes")  # files from older versions lack it, and have no checksum
    with open(path, "rb") as file:
        content = file.read(size if type(size) is int and size >= 0 else -1)
    if content[4:8] != TFLITE_IDENTIFIER:
        raise damaged(path, "it does not begin as a TFLite file")
    if size is not None and hashlib.sha256(content).hexdigest() != metadata.get("model_sha256"):
        raise damaged(path, "its checksum is wrong")


def read_onnx(path: Path | str) -> bytes:
    """Returns the bytes of an ONNX file after checking its SHA-256. Files from older versions have none."""
    with open(path, "rb") as file:
        content = file.read()
    body, last = content[:-ONNX_CHECKSUM_BYTES], content[-ONNX_CHECKSUM_BYTES:]
    if last.startswith(ONNX_CHECKSUM):
        digest = last[len(ONNX_CHECKSUM) :].decode("ascii", "replace")
        if hashlib.sha256(body).hexdigest() != digest:
            raise damaged(path, "its checksum is wrong")
    return content


def damaged(path: Path | str, reason: str) -> ValueError:
    """Returns the ValueError for an incomplete or damaged file."""
    return ValueError(
        f"Expected a complete model of `mask-rcnn export`. Received: {str(path)!r} ({reason}). "
        "Copy the file again, or export the weights again."
    )


def letterbox(image: np.ndarray, metadata: Mapping[str, Any]) -> tuple[np.ndarray, list[int], list[int]]:
    """Resizes an image to the largest size that fits into the model's frame, and pads it with zeros.

    Args:
        image: `[H, W, 3]` uint8 RGB, or the channels and the dtype of `metadata`.
        metadata: Dict of `metadata.json`: `size` (h, w), `resize`, `size_rounding`, `centered`, and
            optionally `channels` and `dtype`. Without these two it is 8-bit RGB.

    Returns:
        The frame `[h, w, C]`, (height, width) of the image in it, and (y, x) of the image's first pixel.
    """
    channels, dtype = metadata.get("channels", 3), metadata.get("dtype", "uint8")
    if image.dtype != dtype or image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        form = "an RGB array" if (channels, dtype) == (3, "uint8") else "an array"
        raise ValueError(
            f"An image must be {form} [H, W, {channels}] of {dtype}. Received: shape={image.shape}, "
            f"dtype={image.dtype}. Images of OpenCV are BGR: use image[..., ::-1]."
        )
    size = metadata["size"]
    resized, origin = place_in_frame(image.shape[:2], metadata)
    frame = np.zeros((*size, channels), dtype)
    y, x = origin
    frame[y : y + resized[0], x : x + resized[1]] = resize(image, resized, metadata["resize"])
    return frame, resized, origin


def place_in_frame(image_size: Sequence[int], metadata: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Returns (height, width) of an image of `image_size` in the frame, and (y, x) of its first pixel."""
    size = metadata["size"]
    scale = min(limit / side for side, limit in zip(image_size, size, strict=True))
    half = 0.0 if metadata["size_rounding"] == "floor" else 0.5
    resized = [
        min(max(int(side * scale + half), 1), limit) for side, limit in zip(image_size, size, strict=True)
    ]
    centered = metadata["centered"]
    origin = [(limit - side) // 2 if centered else 0 for side, limit in zip(resized, size, strict=True)]
    return resized, origin


def resize(image: np.ndarray, size: Sequence[int], method: str) -> np.ndarray:
    """Resizes `[H, W, C]` to `[*size, C]` of the same dtype, as in training; see `InputConfig.resize`."""
    if method == "antialiased_uint8":
        return _resize_by_pillow(image, size)
    # matterport resizes with scikit-image, which blends the border with black, and truncates fractions.
    is_matterport, dtype = method == "uint8", image.dtype
    image = np.pad(image, ((1, 1), (1, 1), (0, 0)), "constant" if is_matterport else "edge")
    y, row_weights = _nearest_pixels(image.shape[0] - 2, size[0])
    x, column_weights = _nearest_pixels(image.shape[1] - 2, size[1])
    row_weights, column_weights = row_weights[:, None, None], column_weights[:, None]
    rows = image[y] * (1 - row_weights) + image[y + 1] * row_weights  # [h, W + 2, C]
    pixels = rows[:, x] * (1 - column_weights) + rows[:, x + 1] * column_weights  # [h, w, C]
    return (pixels if is_matterport else np.round(pixels)).astype(dtype)


def _resize_by_pillow(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    from PIL import Image

    def resized(pixels):
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))

    if image.dtype == np.uint8 and image.shape[2] == 3:
        return resized(image)
    dtype = "uint8" if image.dtype == np.uint8 else "float32"
    channels = [resized(channel.astype(dtype)) for channel in np.moveaxis(image, -1, 0)]
    return np.round(np.stack(channels, axis=-1)).astype(image.dtype)


def _nearest_pixels(length: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the index of the first of the two padded pixels around each output, and the second's weight."""
    position = ((np.arange(target) + 0.5) * (length / target) + 0.5).astype("float32")
    first = np.floor(position)
    return first.astype(int), position - first


def paste(mask: np.ndarray, box: np.ndarray, image_size: Sequence[int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Resizes the mask of a detection to its box in the image: samples the grid at the center of each pixel.

    Args:
        mask: `[M, M]`, probabilities.
        box: `[4]`, yxyx as fractions of the image.
        image_size: (H, W) of the image, pixels.

    Returns:
        The mask as a crop of the image, bool, and (y, x) of its first pixel.
    """
    corners = box.astype("float64") * np.tile(image_size, 2)
    first = np.floor(corners[:2]).astype(int)
    last = np.minimum(np.ceil(corners[2:]), image_size).astype(int)
    weights = []
    for axis in (0, 1):
        start, size = corners[axis], max(corners[axis + 2] - corners[axis], 1e-6)
        centers = np.arange(first[axis], last[axis]) + 0.5
        position = (centers - start) / size * len(mask) - 0.5
        weights.append(np.maximum(1 - np.abs(position[:, None] - np.arange(len(mask))), 0))
    rows, columns = weights  # [pixels, M] each
    return rows @ mask @ columns.T >= THRESHOLD, tuple(first.tolist())


def whole_pixels(boxes: np.ndarray, resized: Sequence[int], original: np.ndarray) -> np.ndarray:
    """Maps boxes to the original image by the indices of their first and last pixels, as matterport does.

    Args:
        boxes: `[D, 4]`, yxyx as fractions of the resized image.
        resized: (height, width) of the resized image, pixels.
        original: `[2]` array, (height, width) of the original image, pixels.

    Returns:
        `[D, 4]` float32, yxyx as fractions of the original image. Padding rows stay 0.
    """
    scale = (original - 1) / np.maximum(np.subtract(resized, 1), 1)
    pixels = np.round((boxes * np.tile(resized, 2) - FAR_EDGE) * np.tile(scale, 2) + FAR_EDGE)
    is_padding = np.all(boxes == 0, axis=1, keepdims=True)
    return np.where(is_padding, 0, np.clip(pixels / np.tile(original, 2), 0, 1)).astype("float32")


def decode_keypoints(heatmaps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the maximum of each heatmap, after the heatmap is resized to the pixels of its box.

    Args:
        heatmaps: `[N, S, S, J]`, logits.
        boxes: `[N, 4]`, yxyx, pixels of the frame.

    Returns:
        `[N, J, 3]` float32: y, x in pixels of the frame, and the softmax probability there.
    """
    keypoints = np.zeros((len(boxes), heatmaps.shape[-1], 3), "float32")
    for points, logits, box in zip(keypoints, heatmaps, boxes, strict=True):
        size = np.maximum(box[2:] - box[:2], 1)
        height, width = np.ceil(size).astype(int)
        rows, columns = cubic_matrix(len(logits), height), cubic_matrix(len(logits), width)
        enlarged = np.einsum("ys,stj,xt->jyx", rows, logits, columns, optimize=True)  # [J, height, width]
        best = enlarged.reshape(len(points), -1).argmax(axis=1)
        cells = np.stack(np.divmod(best, width), axis=1)  # [J, 2]
        points[:, :2] = box[:2] + (cells + 0.5) * size / (height, width)
        highest = logits.max(axis=(0, 1))
        total = np.exp(logits - highest).sum(axis=(0, 1))
        points[:, 2] = np.exp(enlarged.max(axis=(1, 2)) - highest) / total
    return keypoints


def cubic_matrix(length: int, target: int) -> np.ndarray:
    """Returns the matrix of a cubic interpolation along one axis, `[target, length]`.

    It samples at pixel centers. Border pixels are repeated.
    """
    position = (np.arange(target) + 0.5) * (length / target) - 0.5
    taps = np.floor(position)[:, None] + np.arange(-1, 3)  # [target, 4]
    x, a = np.abs(position[:, None] - taps), CUBIC
    weights = np.where(x <= 1, ((a + 2) * x - (a + 3)) * x * x + 1, a * (((x - 5) * x + 8) * x - 4))
    matrix = np.zeros((target, length))
    rows = np.arange(target)[:, None]
    np.add.at(matrix, (rows, np.clip(taps, 0, length - 1).astype(int)), weights)
    return matrix


def main() -> None:
    """Prints the objects in an image, and writes it with their masks drawn."""
    parser = argparse.ArgumentParser(description="Detects objects in an image with an exported model.")
    parser.add_argument("model", help=".tflite or .onnx file of `mask-rcnn export`")
    parser.add_argument("image", help="image file that Pillow can read")
    parser.add_argument(
        "--score", type=float, default=0.5, help="lowest score that is shown (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="number of threads (default: the runtime's choice)")
    parser.add_argument("--out", help="image file to write, with the masks in color")
    args = parser.parse_args()

    from PIL import Image, ImageOps

    with Image.open(args.image) as file:
        image = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    runner = Runner(args.model, args.threads)
    found = runner(image)
    drawn = image.copy()
    for i in range(int(found["num_detections"])):
        score, box = found["detection_scores"][i], found["detection_boxes"][i]
        if score < args.score:
            continue
        label = runner.labels[int(found["detection_classes"][i]) - 1]
        print(f"{label} {score:.3f} yxyx", *np.round(box * np.tile(image.shape[:2], 2), 1).tolist())
        if "detection_masks" in found:
            crop, (y, x) = paste(found["detection_masks"][i], box, image.shape[:2])
            pixels = drawn[y : y + crop.shape[0], x : x + crop.shape[1]]
            color = np.random.default_rng(i).integers(0, 256, 3)
            pixels[crop] = pixels[crop] * (1 - OVERLAY) + color * OVERLAY
    if args.out:
        Image.fromarray(drawn).save(args.out)


if __name__ == "__main__":
    main()
