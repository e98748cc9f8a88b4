"""Result types for users of the library: NumPy arrays with named fields and fixed shapes."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.detection_conversions import ConversionMethods

# Offset from the last pixel of a box to its far edge, yxyx, pixels.
FAR_EDGE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Category:
    """A class that can be detected.

    Args:
        id: Integer id in the data set. Ids may have gaps, as in COCO (1..90).
        name: Name of the class.
        keypoints: Names of the keypoints of its objects. Defaults to none.
        skeleton: Pairs of keypoint numbers to connect by a line. Numbers start at 1, as in COCO. Defaults to
            none.
    """

    id: int
    name: str
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keypoints", tuple(self.keypoints))  # json has lists
        object.__setattr__(self, "skeleton", tuple(map(tuple, self.skeleton)))


@dataclass(frozen=True, eq=False)
class Detections(ConversionMethods):
    """The N objects detected in one image, in pixels of the original image.

    A mask is stored as a crop, so that a hundred objects of a large photograph fit in little memory.
    `full_mask` and `rle` return it in the frame of the image.

    Args:
        boxes: `[N, 4]` float32, yxyx, pixels, far edge not included.
        scores: `[N]` float32 in 0..1.
        class_ids: `[N]` int32, 1..K. Class id `i` is `categories[i - 1]`.
        image_size: (height, width) of the image, pixels.
        masks: N boolean crops `[h, w]` of any size, or None if the model has no masks.
        mask_origins: `[N, 2]` int32, (y, x) of the first pixel of each crop in the image; None without masks.
        keypoints: `[N, J, 3]` float32, (x, y, score), or None. Coordinates are those of the boxes: pixel 7
            extends from 7 to 8. COCO files store the pixel index, which is half a pixel less than its center.
        attributes: Dict `{name: [N, ...]}` of the predictions of further heads. Defaults to empty.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    image_size: tuple[int, int]
    _: KW_ONLY
    masks: tuple[np.ndarray, ...] | None = None
    mask_origins: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = self.image_size
        object.__setattr__(self, "image_size", (int(height), int(width)))
        object.__setattr__(self, "boxes", np.asarray(self.boxes, "float32"))
        num_objects = len(self.boxes)
        self._set_array("boxes", "float32", (num_objects, 4))
        self._set_array("scores", "float32", (num_objects,))
        self._set_array("class_ids", "int32", (num_objects,))
        if (self.class_ids < 1).any():
            raise ValueError(
                "`class_ids` must be 1 or more, for 0 means background and padding. "
                f"Received: class_ids={self.class_ids.tolist()}. Drop the padding first."
            )
        if self.keypoints is not None:
            num_keypoints = np.shape(self.keypoints)[1] if np.ndim(self.keypoints) == 3 else "J"
            self._set_array("keypoints", "float32", (num_objects, num_keypoints, 3))
        for name, values in self.attributes.items():
            if len(values) != num_objects:
                raise ValueError(
                    f"`attributes[{name!r}]` must have one row for each of the {num_objects} boxes. "
                    f"Received: {len(values)} rows. Select all fields with the same index."
                )
        if (self.masks is None) != (self.mask_origins is None):
            raise ValueError(
                "`masks` and `mask_origins` belong together. "
                f"Received: masks={_num_rows(self.masks)}, mask_origins={_num_rows(self.mask_origins)}. "
                "Give both or neither."
            )
        if self.masks is not None:
            self._set_array("mask_origins", "int32", (num_objects, 2))
            self._set_masks(num_objects)

    def _set_array(self, name, dtype, shape):
        """Converts field `name` to an array of `dtype`. Raises a ValueError if its shape is not `shape`."""
        array = np.asarray(getattr(self, name), dtype)
        if array.shape != shape:
            raise ValueError(
                f"`{name}` must have shape {shape}, one row for each box. "
                f"Received: {name} of shape {array.shape}. Select all fields with the same index."
            )
        object.__setattr__(self, name, array)

    def _set_masks(self, num_objects):
        """Converts `masks` to a tuple. Raises a ValueError unless all are boolean crops inside the image."""
        masks = tuple(np.asarray(mask) for mask in (() if self.masks is None else self.masks))
        object.__setattr__(self, "masks", masks)
        if len(masks) != num_objects:
            raise ValueError(
                f"`masks` must hold one crop for each of the {num_objects} boxes. "
                f"Received: {len(masks)} masks. Select all fields with the same index."
            )
        origins = np.asarray(self.mask_origins)
        for i, (mask, origin) in enumerate(zip(masks, origins, strict=True)):
            if mask.dtype != bool or mask.ndim != 2:
                raise ValueError(
                    f"`masks[{i}]` must be a boolean array [h, w]. Received: dtype={mask.dtype}, "
                    f"shape={mask.shape}. Use `paste_mask` for `[M, M]` probabilities, or `mask > 0.5`."
                )
            if (origin < 0).any() or (origin + mask.shape > self.image_size).any():
                raise ValueError(
                    f"`masks[{i}]` must lie inside the image of size {self.image_size}. "
                    f"Received: shape={mask.shape}, origin={tuple(origin.tolist())}. Clip it."
                )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, index: np.ndarray | Sequence[int] | Sequence[bool] | slice) -> "Detections":
        """Returns the detections that `index` selects, in its order.

        Args:
            index: `[N]` bool, an array of integers, or a slice.

        Example:

        >>> detections = Detections([[0, 0, 4, 4], [2, 2, 8, 6]], [0.9, 0.3], [1, 2], (10, 10))
        >>> detections.select(detections.scores > 0.5).class_ids
        array([1], dtype=int32)
        """
        rows = np.arange(len(self))[index]
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            class_ids=self.class_ids[rows],
            masks=None if self.masks is None else tuple(self.masks[i] for i in rows),
            mask_origins=None if self.mask_origins is None else self.mask_origins[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
            attributes={name: values[rows] for name, values in self.attributes.items()},
        )

    def full_mask(self, i: int) -> np.ndarray:
        """Returns mask `i` in the frame of the image, `[H, W]` bool.

        Raises:
            ValueError: If the detections have no masks.
        """
        crop, (y, x) = self._mask(i)
        mask = np.zeros(self.image_size, bool)
        mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return mask

    def rle(self, i: int) -> dict[str, Any]:
        """Returns mask `i` in COCO's run-length encoding, `{"size": [H, W], "counts": str}`.

        Raises:
            ValueError: If the detections have no masks.
        """
        crop, origin = self._mask(i)
        return encode_crop(crop, origin, self.image_size)

    def _mask(self, i: int) -> tuple[np.ndarray, list[int]]:
        if self.masks is None or self.mask_origins is None:
            raise ValueError(
                "These detections have no masks. Received: masks=None. "
                "Detect with a model that has a mask head (`config.mask_head`)."
            )
        return self.masks[i], self.mask_origins[i].tolist()


def smallest_crop(mask: np.ndarray, origin: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the smallest crop `[h, w]` bool that holds the pixels of a mask, and its (y, x) in the image.

    Args:
        mask: `[H, W]` bool.
        origin: (y, x) of its first pixel in the image. Defaults to (0, 0).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros((0, 0), bool), (origin[0], origin[1])
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return crop.copy(), (origin[0] + rows[0], origin[1] + columns[0])  # a view would keep the mask in memory


def encode_crop(crop: np.ndarray, origin: Sequence[int], image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns COCO's run-length encoding of a mask crop, without creating the full mask.

    COCO encodes the lengths of runs, column by column, zeros first. A run that ends at the bottom edge of the
    image continues at the top of the next column.

    Args:
        crop: `[h, w]` bool. The mask is False outside of it.
        origin: (y, x) of its first pixel in the image.
        image_size: (height, width) of the image.

    Returns:
        `{"size": [H, W], "counts": str}`, equal to the result of pycocotools for the full mask.
    """
    (height, width), (y, x) = image_size, origin
    # [w, h + 2]: each column begins and ends with a zero.
    columns = np.zeros((crop.shape[1], crop.shape[0] + 2), bool)
    columns[:, 1:-1] = crop.T
    flat = columns.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1])  # starts and ends of runs
    column, row = np.divmod(changes, crop.shape[0] + 2)
    flips = (column + x) * height + row + y
    if crop.shape[0] == height:  # a run may end at the bottom where the next begins at the top: one run
        joints = np.flatnonzero(flips[1:] == flips[:-1])
        flips = np.delete(flips, [joints, joints + 1])
    counts = np.diff(flips, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    uncompressed: Any = {"size": [height, width], "counts": counts.tolist()}
    rle = coco_mask.frPyObjects(uncompressed, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _num_rows(value):
    return "None" if value is None else f"{len(value)} rows"


def as_categories(categories: Sequence[Category | str] | None, num_classes: int) -> tuple[Category, ...]:
    """Returns a tuple of `Category` for `num_classes` classes.

    Args:
        categories: `Category` records or names. None creates the names "class 1", "class 2", ...
        num_classes: Number of classes. Only used if `categories` is None.
    """
    if categories is None:
        categories = [f"class {number}" for number in range(1, num_classes + 1)]
    return tuple(
        Category(number, category) if isinstance(category, str) else category
        for number, category in enumerate(categories, start=1)
    )
