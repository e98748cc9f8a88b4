"""`mask-rcnn data preview`: draws training samples after all transforms on one picture."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mask_rcnn.cli.options import Subparsers, add_command, add_set, load_config, local_path
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.train import CONFIG_FOR_DATA
from mask_rcnn.config import Config
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    import numpy as np

    from mask_rcnn.data.records import Dataset, ImageRecord
    from mask_rcnn.structures import Category, Detections

SUFFIXES = (".png", ".jpg", ".jpeg")
GAP = 4  # white space between the samples, pixels
IGNORED = "ignored"  # label of regions that are used neither as positives nor as negatives


def add_parser(actions: Subparsers) -> None:
    """Adds the action `preview` with its options."""
    parser = add_command(
        actions,
        "preview",
        run,
        summary="draw training samples with their ground truth, after all transforms",
    )
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        required=True,
        help="COCO instances to train on, or TFRecord files (a path, or a pattern in quotes)",
    )
    parser.add_argument(
        "--images", metavar="DIR", help="folder of their images (default: none, for TFRecord files)"
    )
    parser.add_argument(
        "--config",
        metavar="NAME_OR_YAML",
        default=CONFIG_FOR_DATA,
        help="a recipe of `mask-rcnn config list`, or a YAML file",
    )
    add_set(parser)
    parser.add_argument(
        "--count", metavar="N", type=int, default=12, help="number of samples, the first ones of the training"
    )
    parser.add_argument(
        "--tile", metavar="PIXELS", type=int, default=480, help="longer side of each drawn sample"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=local_path,
        default=Path("preview.png"),
        help="PNG or JPEG file to write",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the picture, and prints the names of the images in it."""
    _check(args)
    config = load_config(args.config, args.set)
    paths = {"train_annotations": args.annotations, "train_images": args.images}
    config = replace(config, data=replace(config.data, **paths, val_annotations=None, val_images=None))
    import_tensorflow()

    from mask_rcnn.cli.pictures import save_picture
    from mask_rcnn.data.records import Dataset
    from mask_rcnn.training.training_data import read_training_data

    dataset = read_training_data(config, folder=None)[0]
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"--annotations must be a data set. Received: {args.annotations}. Give COCO instances or "
            "TFRecord files."
        )
    samples = _samples(dataset, config, args.count)
    tiles, names, num_objects, num_ignored = [], [], 0, 0
    for sample, record in samples:
        tile, objects, ignored = _drawn(sample, dataset.categories, config, args.tile)
        tiles.append(tile)
        names.append(record.path.name)
        num_objects, num_ignored = num_objects + objects, num_ignored + ignored
    columns = math.ceil(math.sqrt(len(tiles)))
    save_picture(args.out, _sheet(tiles, columns))
    for start in range(0, len(names), columns):
        print_line(f"row {start // columns + 1}: {', '.join(names[start : start + columns])}")
    print_line(f"{len(tiles)} samples, {num_objects} objects, {num_ignored} ignored regions: {args.out}")


def _check(args: argparse.Namespace) -> None:
    """Raises a ValueError if an option is invalid."""
    from mask_rcnn.cli.pictures import is_drawn

    for name, value in (("count", args.count), ("tile", args.tile)):
        if value < 1:
            raise ValueError(f"--{name} must be 1 or more. Received: --{name} {value}. Choose a larger one.")
    if args.out.suffix not in SUFFIXES:
        raise ValueError(
            f"--out must be a file that ends in {', '.join(SUFFIXES)}. Received: --out {args.out}. Rename it."
        )
    if os.path.lexists(args.out) and not is_drawn(args.out):
        raise ValueError(
            "--out must not exist, or be a picture that mask-rcnn has drawn. "
            f"Received: --out {args.out}, which is something else. Choose another name."
        )


def _samples(
    dataset: Dataset, config: Config, count: int
) -> Iterator[tuple[dict[str, np.ndarray], ImageRecord]]:
    """Yields the first training samples: `{name: array}` of each, and the record of its image."""
    from mask_rcnn.data.input_pipeline.bad_images import BadImages
    from mask_rcnn.data.input_pipeline.pipeline import images_of_step, training_dataset

    batch_size = config.train.batch_size
    with BadImages(dataset, config) as bad_images:
        batches = training_dataset(dataset, config, bad_images=bad_images)
        for step, batch in enumerate(batches.take(math.ceil(count / batch_size))):
            arrays = {name: value.numpy() for name, value in batch.items()}
            records = images_of_step(dataset, config, step, bad_images=bad_images)
            for index in range(min(batch_size, count - step * batch_size)):
                yield {name: value[index] for name, value in arrays.items()}, records[index]


def _drawn(
    sample: dict[str, np.ndarray], categories: Sequence[Category], config: Config, side: int
) -> tuple[np.ndarray, int, int]:
    """Draws a sample. Returns the picture, the number of its objects, and the number of its ignored regions.

    Args:
        sample: Dict of arrays of one image, as in a batch of `training_dataset`.
        categories: The K `Category` records.
        config: `Config`.
        side: Longer side of the picture, pixels.
    """
    import cv2
    import numpy as np

    from mask_rcnn.data.image_io.rgb8 import to_rgb8
    from mask_rcnn.data.transforms import padding_origin
    from mask_rcnn.structures import Category
    from mask_rcnn.visualization.drawing import draw

    height, width = sample["image_sizes"].astype(int).tolist()
    y, x = padding_origin((height, width), sample["images"].shape[:2], config.input.centered)
    pixels = np.round(sample["images"][y : y + height, x : x + width])
    image = to_rgb8(pixels, config.input).astype("uint8")
    longest = max(height, width)
    size = max(1, round(height * side / longest)), max(1, round(width * side / longest))
    interpolation = cv2.INTER_AREA if longest > side else cv2.INTER_LINEAR
    image = cv2.resize(image, size[::-1], interpolation=interpolation)
    scale = np.divide(size, (height, width))
    detections = _detections(sample, origin=(y, x), scale=scale, size=size, ignored_id=len(categories) + 1)
    num_ignored = int(np.count_nonzero(sample["gt_class_ids"] < 0))
    picture = draw(image, detections, (*categories, Category(0, IGNORED)), scores=False)
    return picture, len(detections) - num_ignored, num_ignored


def _detections(
    sample: dict[str, np.ndarray],
    *,
    origin: tuple[int, int],
    scale: np.ndarray,
    size: tuple[int, int],
    ignored_id: int,
) -> Detections:
    """Returns the objects and ignored regions of a sample as `Detections` of an image of `size`."""
    import numpy as np

    from mask_rcnn.postprocessing.paste import paste_masks
    from mask_rcnn.structures import Detections

    class_ids = sample["gt_class_ids"]
    is_used = class_ids != 0
    boxes = ((sample["gt_boxes"] - np.tile(origin, 2)) * np.tile(scale, 2))[is_used]
    class_ids = np.where(class_ids < 0, ignored_id, class_ids)[is_used]
    num_objects, masks, origins, keypoints = int(np.count_nonzero(class_ids != ignored_id)), None, None, None
    num_ignored = len(class_ids) - num_objects
    if "gt_masks" in sample:
        masks, origins = paste_masks(sample["gt_masks"][:num_objects], boxes[:num_objects], size)
        masks += (np.zeros((0, 0), bool),) * num_ignored
        origins = np.concatenate([origins, np.zeros((num_ignored, 2), "int32")])
    if "gt_keypoints" in sample:
        points, visibility = np.split(sample["gt_keypoints"][:num_objects], [2], axis=-1)
        points = ((points - origin) * scale)[..., ::-1]
        keypoints = np.concatenate([points, visibility > 0], axis=-1)
        keypoints = np.pad(keypoints, [(0, num_ignored), (0, 0), (0, 0)])
    scores = np.ones(len(class_ids))
    return Detections(boxes, scores, class_ids, size, masks=masks, mask_origins=origins, keypoints=keypoints)


def _sheet(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Arranges the pictures in rows on white; returns `[H, W, 3]` uint8."""
    import numpy as np

    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) + GAP for row in rows]
    width = max(tile.shape[1] for tile in tiles) + GAP
    sheet = np.full((sum(heights) + GAP, columns * width + GAP, 3), 255, "uint8")
    for y, row in zip(np.cumsum([GAP, *heights]), rows, strict=False):
        for x, tile in zip(range(GAP, sheet.shape[1], width), row, strict=False):
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet
