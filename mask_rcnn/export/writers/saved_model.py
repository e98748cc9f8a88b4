"""Writes SavedModels for model servers: image files or pixels in, detections in the original image out."""

import functools
import json
import tempfile
from pathlib import Path

import tensorflow as tf

from mask_rcnn.export.checks.compare import EXACT, HALF
from mask_rcnn.export.export_model import ExportJob
from mask_rcnn.export.image_graph.geometry import (
    image_info,
    invert_boxes,
    invert_keypoints,
    keep_rows,
    make_frame,
    preprocess,
)
from mask_rcnn.export.image_graph.image_files import MAX_PIXELS, decode_file
from mask_rcnn.export.image_graph.keypoints import decode_keypoints
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.runners.outputs import has_rows
from mask_rcnn.export.runners.saved_model_runner import CHECKSUMS, checksums
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.heads import heads_of
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.system.terminal import print_line


class ServedModel(tf.Module):
    """A detector with its weights, its assets and three signatures, each of which takes a batch.

    All signatures return the outputs of `outputs.py` with a batch axis, and `image_info` `[B, 4, 2]`:
    (height, width) of the image, (height, width) of the resized image, the (y, x) scale, and the (y, x)
    position of the image in the padded one. D is the largest `num_detections` of the batch, 0 without
    detections.

    - `serving_default`: `input_tensor` uint8 `[B, H, W, 3]`, RGB, images of one size. Other models have their
      own `input.channels` and `input.dtype`.
    - `image_bytes`: string `[B]`, JPEG, PNG, GIF, BMP or WebP files of any sizes. They are decoded as
      `read_image` does: upright according to EXIF or XMP, palette colors as RGB, the first frame of an
      animation. These files are refused: TIFF, .npy, BMP files with run lengths or 16 bits per pixel,
      animations whose first frame is smaller than the canvas, and JPEG files of more than 100 scans.
    - `tf_example`: string `[B]`, serialized `tf.train.Example`s with such a file as `image/encoded`.

    Only models of 8-bit RGB have the last two. TensorFlow decodes no other files as `read_image` does.

    Each file is resized and padded separately and goes through the model alone, so its detections do not
    depend on the rest of the batch. A file that cannot be decoded fails the whole call with an
    InvalidArgument error that names its index. No result is silently wrong. A server should not combine files
    of several clients in one
    batch: it is not faster.

    TensorFlow reports pixels of another dtype or rank as a signature mismatch. An image without pixels is an
    error. An image with fewer detections than others of its batch has padding rows of zeros.

    Args:
        predictor: `Predictor`, in the precision to compute in.
        assets: Paths of the text files to store with the model.
        max_pixels: Largest height times width of an image file. The header is checked before the file is
            decoded. Defaults to `MAX_PIXELS`.
    """

    def __init__(self, predictor, assets, max_pixels=MAX_PIXELS):
        super().__init__(name="mask_rcnn")
        self._max_pixels = max_pixels
        self._config = predictor.config
        self._model = tf.function(predictor.model, autograph=False, reduce_retracing=True)
        self._dtype = predictor.model.input["images"].dtype
        self.weights = [variable.value for variable in predictor.model.variables]
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]
        endpoints = {"serving_default": _endpoint(self._detect, *self._pixels())}
        if self._config.input.is_rgb8:
            endpoints |= {
                "image_bytes": _endpoint(self._detect_files, "image_bytes", [None], tf.string),
                "tf_example": _endpoint(self._detect_examples, "tf_example", [None], tf.string),
            }
        else:
            print_line("The SavedModel takes arrays only: image_bytes and tf_example are for 8-bit RGB.")
        self.endpoints = endpoints  # assigned once: `tf.Module` cannot save a dict that changes later
        self.__call__ = self.endpoints["serving_default"]

    def _pixels(self):
        """Returns name, shape and dtype of the input of `serving_default`."""
        settings = self._config.input
        return "input_tensor", [None, None, None, settings.channels], tf.as_dtype(settings.dtype)

    def _detect(self, images):
        """Detects objects: `[B, H, W, C]` to `{name: tensor}` without common padding rows."""
        return _cut_padding(self._detect_padded(images))

    def _detect_padded(self, images):
        """Detects objects: `[B, H, W, C]` to `{name: tensor}` with all rows of the model."""
        original = tf.shape(images)[1:3]
        expected = "Expected images with pixels. Received images of (height, width):"
        check = tf.debugging.Assert(tf.reduce_min(original) > 0, [expected, original])
        with tf.control_dependencies([check]):
            frame = make_frame(original, self._config.input)
        pixels = tf.map_fn(
            lambda image: preprocess(image, frame, self._config.input, self._dtype),
            images,
            fn_output_signature=tf.TensorSpec([None, None, images.shape[-1]], self._dtype),
        )
        batch_size = tf.shape(images)[0]
        sizes = tf.tile(tf.cast(frame.resized, tf.float32)[None], [batch_size, 1])
        found = self._model({"images": pixels, "image_sizes": sizes})
        info = tf.tile(image_info(frame)[None], [batch_size, 1, 1])
        return {**self._in_words(found, frame), "image_info": info}

    def _detect_files(self, contents):
        """Detects objects in image files: `[B]` string to `{name: tensor}` without common padding rows."""
        detect = _endpoint(self._detect_padded, *self._pixels()).get_concrete_function()

        def detect_file(numbered):
            image = decode_file(*numbered, self._max_pixels, self._config.input.bit_depth)
            return {name: output[0] for name, output in detect(image[None]).items()}

        row = {
            name: tf.TensorSpec(output.shape[1:], output.dtype)
            for name, output in detect.structured_outputs.items()
        }
        numbered = (tf.range(tf.size(contents)), contents)
        # One file at a time: each uses all cores, and its feature maps need hundreds of megabytes.
        return _cut_padding(tf.map_fn(detect_file, numbered, parallel_iterations=1, fn_output_signature=row))

    def _detect_examples(self, examples):
        """Detects objects in `[B]` serialized `tf.train.Example`s; returns `{name: tensor}`."""
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return self._detect_files(tf.io.parse_example(examples, features)["image/encoded"])

    def _in_words(self, found, frame):
        """Converts the model's outputs to those of `outputs.py`."""
        present = tf.cast(found["class_ids"] > 0, tf.float32)  # [B, D]
        boxes = invert_boxes(found["boxes"], frame, self._config.inclusive_boxes)
        outputs = {
            "detection_boxes": boxes * present[..., None],
            "detection_scores": tf.cast(found["scores"], tf.float32) * present,
            "detection_classes": tf.cast(found["class_ids"], tf.float32),
            "num_detections": tf.reduce_sum(present, axis=1),
        }
        for head in heads_of(self._config):
            if "keypoint_heatmaps" in head.outputs:
                outputs |= _keypoints_in_words(found, frame, present, head.settings.half_pixel)
            else:
                outputs |= {f"detection_{name}": keep_rows(found[name], present) for name in head.outputs}
        return outputs


def _keypoints_in_words(found, frame, present, half_pixel):
    """Decodes the heatmaps of the model to `detection_keypoints` and `detection_keypoint_scores`."""
    heatmaps_and_boxes = (found["keypoint_heatmaps"], found["boxes"])
    row = tf.TensorSpec([*found["keypoint_heatmaps"].shape[1::3], 3], tf.float32)
    keypoints = tf.map_fn(
        lambda pair: decode_keypoints(*pair), heatmaps_and_boxes, fn_output_signature=row
    )  # [B, D, J, 3]
    keypoints = keep_rows(invert_keypoints(keypoints, frame, half_pixel), present)
    return {"detection_keypoints": keypoints[..., :2], "detection_keypoint_scores": keypoints[..., 2]}


def export_job(weights, options):
    """Returns the `ExportJob` of a SavedModel; see `export_model.py`."""
    predictor = Predictor.load(weights, implementation="portable")
    least_bytes = sum(variable.value.numpy().nbytes for variable in predictor.model.variables)
    reference, tolerance = Runner(predictor), EXACT
    if options.precision not in (None, "float32"):
        predictor = Predictor.load(weights, f"mixed_{options.precision}", implementation="portable")
        tolerance = HALF
    return ExportJob(
        write=functools.partial(write, predictor=predictor, max_pixels=options.max_pixels or MAX_PIXELS),
        reference=reference,
        tolerance=tolerance,
        least_bytes=least_bytes,
    )


def write(path, predictor, max_pixels=MAX_PIXELS):
    """Writes a `Predictor` as a SavedModel; see `ServedModel`.

    Args:
        path: Folder to write.
        predictor: `Predictor`. Build its parts with `kernels="portable"` if other machines run the model.
        max_pixels: As in `ServedModel`.
    """
    with tempfile.TemporaryDirectory(prefix="mask_rcnn_assets_") as folder:
        assets = []
        for name, text in write_assets(predictor.config, predictor.categories).items():
            assets.append(Path(folder, name))
            assets[-1].write_text(text, encoding="utf-8")
        model = ServedModel(predictor, assets, max_pixels)
        tf.saved_model.save(model, str(path), model.endpoints)
    file = Path(path, CHECKSUMS)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(checksums(path), indent=1) + "\n", encoding="utf-8")


def _cut_padding(outputs):
    """Removes the rows after the last detection of the batch. 100 padding rows are most of a JSON reply."""
    count = tf.cast(tf.reduce_max(outputs["num_detections"], axis=0), tf.int32)
    count = tf.maximum(count, 0)  # the maximum of an empty batch is the lowest float
    return {name: output[:, :count] if has_rows(name) else output for name, output in outputs.items()}


def _endpoint(function, name, shape, dtype):
    spec = tf.TensorSpec(shape, dtype, name)
    return tf.function(function, input_signature=[spec], autograph=False)
