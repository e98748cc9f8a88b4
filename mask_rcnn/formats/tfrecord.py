"""Reader and writer for TFRecord files of TensorFlow Model Garden and the Object Detection API.

`mask_rcnn/data/tfrecords/detection_example.py` documents the schema. Masks are PNG files of the whole image,
as other readers expect. Image files are copied unchanged.
"""

import math

import cv2
import numpy as np

from mask_rcnn.data.image_io.image_headers import ARRAY_FORMATS
from mask_rcnn.data.image_io.images import read_header
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.tfrecords import detection_example as schema
from mask_rcnn.data.tfrecords.label_map import FILE_NAME, write_label_map
from mask_rcnn.data.tfrecords.record_image import ENCODED
from mask_rcnn.data.tfrecords.shards import Shards, read_shards
from mask_rcnn.data.tfrecords.tfrecord import encode_example, write_record
from mask_rcnn.formats.dataset_files import annotations_by_image, names_by_id, relative_name
from mask_rcnn.formats.registry import READERS, WRITERS, Source, Target
from mask_rcnn.system.files import atomic_write

SHARD_BYTES = 100_000_000  # bytes of images per file, about the size that TensorFlow's guide recommends


@READERS.register("tfrecord")
def read_tfrecord(source: Source) -> Shards:
    """Reads TFRecord files. Writes their images to the image folder, which must be empty."""
    shards = read_shards(source.path)
    with atomic_write(source.images.folder) as folder:
        folder.mkdir()
        for image in source.track(shards.images, len(shards.images), "writing images"):
            path = folder / relative_name(image.file_name)
            if path.exists():
                raise ValueError(
                    f"Expected images with different names. Received: two named {image}. Rename one of them."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image.open().read())
    return shards


@WRITERS.register("tfrecord")
def write_tfrecord(target: Target) -> None:
    """Writes NAME-00000-of-00010.tfrecord etc. NAME is the part of a split, or the name of the folder."""
    for part, content in target.parts.items():
        images = annotations_by_image(content)
        paths = [target.images.find(image["file_name"], "the annotations") for image, _ in images]
        sizes = [path.stat().st_size for path in paths]
        count = target.num_shards or math.ceil(sum(sizes) / SHARD_BYTES)
        name = part or target.final_path.name
        shards = [target.path / f"{name}-{number:05d}-of-{count:05d}.tfrecord" for number in range(count)]
        for shard in shards:
            shard.touch()
        encode = _Encoder(content, target.findings)
        items = list(zip(_shard_numbers(sizes, count), images, paths, strict=True))
        for number, (image, annotations), path in target.track(items, len(items), f"writing {part}".strip()):
            with open(shards[number], "ab") as file:
                write_record(file, encode(image, annotations, path))
        write_label_map(target.path / FILE_NAME, content["categories"])


def _shard_numbers(sizes, count):
    """Assigns images to files of about equal size, without a change of their order.

    Args:
        sizes: Size of each image, bytes.
        count: Number of files.

    Returns:
        List with the index of the file of each image, from 0 to `count` - 1.
    """
    centers = np.cumsum(sizes) - np.array(sizes) / 2
    return np.minimum(centers * count / sum(sizes), count - 1).astype(int).tolist()


class _Encoder:
    """Serializes each image to a `tf.train.Example`, and reports what other readers do not support.

    Args:
        content: Content of a COCO JSON.
        findings: `Findings`. What the format or other readers do not support is added.
    """

    def __init__(self, content, findings):
        self.findings, self.names = findings, names_by_id(content)
        self.points = {each["id"]: each.get("keypoints", []) for each in content["categories"]}
        self.num_points = max(map(len, self.points.values()))
        for category in content["categories"]:
            if category.get("skeleton"):
                findings.repair("skeletons of keypoints were left out", category["name"])
            if category["id"] < 1:
                findings.repair(
                    "ids of classes are below 1: other readers use 0 for the background", category["id"]
                )

    def __call__(self, image, annotations, path):
        header = read_header(path)
        if header.orientation != 1:
            self.findings.repair(
                "images have an EXIF orientation, which other readers do not apply", image["file_name"]
            )
        if header.format in ARRAY_FORMATS:
            self.findings.repair(
                "images are TIFF or .npy files, which other readers do not decode", image["file_name"]
            )
        size = (image["height"], image["width"])
        features = {
            ENCODED: [path.read_bytes()],
            schema.FORMAT: [header.format.lower().encode()],
            schema.FILE_NAME: [image["file_name"].encode()],
            schema.SOURCE_ID: [str(image["id"]).encode()],
            schema.HEIGHT: [size[0]],
            schema.WIDTH: [size[1]],
        }
        if annotations:
            features |= self._objects(annotations, size)
        return encode_example(features)

    def _objects(self, annotations, size):
        boxes = np.array([each["bbox"] for each in annotations], "float64")
        boxes[:, 2:] += boxes[:, :2]
        sides = (boxes / (size[1], size[0], size[1], size[0])).T.tolist()
        features = dict(zip(schema.BOX, sides, strict=True))
        ids = [each["category_id"] for each in annotations]
        features |= {
            schema.TEXT: [self.names[id].encode() for id in ids],
            schema.LABEL: ids,
            schema.CROWD: [int(each["iscrowd"]) for each in annotations],
            schema.AREA: [float(each["area"]) for each in annotations],
        }
        if any(each.get("segmentation") for each in annotations):
            features[schema.MASK] = [self._mask(each, size) for each in annotations]
        if self.num_points:
            features |= self._keypoints(annotations, size)
        return features

    def _mask(self, annotation, size):
        segmentation = annotation.get("segmentation")
        if segmentation:
            mask = full_mask(segmentation, *size).astype("uint8")
        else:
            self.findings.repair(
                "objects without a mask got an empty mask: the format needs a mask for each object",
                f"annotation {annotation['id']}",
            )
            mask = np.zeros(size, "uint8")
        return cv2.imencode(".png", mask)[1].tobytes()

    def _keypoints(self, annotations, size):
        """Returns the keypoint features, padded to the same number for each object: zeros, empty names."""
        points = np.zeros((len(annotations), self.num_points, 3))
        names = []
        for row, each in enumerate(annotations):
            known = np.reshape(each.get("keypoints") or [], (-1, 3))
            points[row, : len(known)] = known
            class_points = self.points[each["category_id"]]
            names += [*class_points, *[""] * (self.num_points - len(class_points))]
        x, y = ((points[..., axis] / side).ravel().tolist() for axis, side in ((0, size[1]), (1, size[0])))
        return {
            **dict(zip(schema.POINT, (x, y), strict=True)),
            schema.VISIBILITY: points[..., 2].astype(int).ravel().tolist(),
            schema.POINT_NAME: [name.encode() for name in names],
            schema.NUM_POINTS: (points[..., 2] > 0).sum(axis=1).tolist(),
        }
