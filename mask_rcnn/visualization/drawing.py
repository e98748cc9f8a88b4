"""Draws detections on images: masks with outlines, boxes, keypoints, and labels that do not overlap.

All sizes are relative to the image size, so a thumbnail and a photograph of 20 megapixels look alike. Large
objects are drawn first, so a small object in front of a large object stays visible.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mask_rcnn.data.image_io.images import is_image_file, read_image
from mask_rcnn.structures import Category, Detections
from mask_rcnn.visualization.fonts import label_names
from mask_rcnn.visualization.labels import draw_labels

LINE_WIDTH = 0.003  # relative to the square root of the image area: 1.7 pixels at 640 x 480
# Fraction of an object's shorter side, so that an outline does not cover a small object.
MAX_OUTLINE_WIDTH = 0.06

FILL_OPACITY = 0.4
BOX_OPACITY = 0.5  # with masks; without masks boxes are opaque
MIN_KEYPOINT_SCORE = 0.05  # keypoints must have a higher score to be drawn
MAX_LIMB_WIDTH = 0.02  # relative to the larger extent of the object's keypoints
Color = tuple[int, int, int]  # (red, green, blue), 0 to 255
WHITE: Color = (255, 255, 255)

STRIP_PIXELS = 1 << 22  # pixels of a region that are tinted at a time
SUBPIXEL_BITS = 4  # OpenCV draws with a precision of 1/16 pixel
CHROMA = 0.17  # OKLab chroma, the maximum that sRGB has for most hues
SHADES = (0.74, 0.64, 0.84)  # OKLab lightness
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # radians; multiples of it never repeat a hue


def draw(
    image: np.ndarray | str | Path,
    detections: Detections,
    categories: Sequence[Category],
    *,
    color_by: Literal["class", "instance"] = "class",
    boxes: bool = True,
    labels: bool = True,
    scores: bool = True,
    font: str | Path | None = None,
) -> np.ndarray:
    """Draws detections, or ground truth as `Detections`, on a copy of an image.

    Args:
        image: `[H, W, 3]` uint8 RGB array, or the path of an image file.
        detections: `Detections` of the image.
        categories: Sequence of K `Category`. Class id i is `categories[i - 1]`.
        color_by: "class": the hue depends on the class and is equal in all images, and instances differ in
            their shades. "instance": each object has its own hue, for many objects of few classes. Defaults
            to "class".
        boxes: Whether to draw the boxes. Defaults to True.
        labels: Whether to write class names. A label is omitted if it would cover another label or more than
            half of an object's box. Defaults to True.
        scores: Whether to write scores, in percent. Use False for ground truth. Defaults to True.
        font: Path of a font for the labels. Defaults to None: the first font of Pillow, matplotlib and the
            system with all letters of a class name. Letters that no font has are written as code points.

    Returns:
        `[H, W, 3]` uint8, RGB.

    Raises:
        ValueError: If shape, dtype or size of `image`, `color_by` or `font` are not as described.
    """
    image = read_image(image) if is_image_file(image) else np.asarray(image)
    _check(image, detections, color_by)
    canvas = np.ascontiguousarray(image).copy()
    heights, widths = (detections.boxes[:, 2:] - detections.boxes[:, :2]).T
    order = np.argsort(-heights * widths, kind="stable")  # large objects first
    hues = detections.class_ids if color_by == "class" else np.arange(len(detections))
    colors = [palette_color(int(hue), shade=i) for i, hue in enumerate(hues)]

    if detections.masks is not None and detections.mask_origins is not None:
        for i in order:
            draw_mask(canvas, detections.masks[i], detections.mask_origins[i], color=colors[i])
    if boxes:
        opacity = 1.0 if detections.masks is None else BOX_OPACITY
        for i in order:
            draw_box(canvas, detections.boxes[i], color=colors[i], opacity=opacity)
    if detections.keypoints is not None:
        for i in order:
            skeleton = categories[int(detections.class_ids[i]) - 1].skeleton
            draw_keypoints(canvas, detections.keypoints[i], skeleton, color=colors[i])
    if labels:
        texts = _texts(detections, categories, with_scores=scores, font=font)
        draw_labels(canvas, detections.boxes, texts, colors=colors, order=order)
    return canvas


def _check(image, detections, color_by):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "`image` must be RGB, [H, W, 3] uint8. "
            f"Received: dtype={image.dtype}, shape={image.shape}. Read it with `read_image`."
        )
    if image.shape[:2] != detections.image_size:
        raise ValueError(
            f"`detections` must belong to this image, of size {image.shape[:2]}. "
            f"Received: detections.image_size={detections.image_size}. Give the image of the detections."
        )
    if color_by not in ("class", "instance"):
        raise ValueError(
            f'`color_by` must be "class" or "instance". Received: color_by={color_by!r}. Choose one.'
        )


def _texts(detections, categories, *, with_scores, font):
    """Returns (name, score, font) of each label. The name is empty if there is only one category."""
    names = label_names(tuple(categories), font)
    percents = [f"{score:.0%}" if with_scores else "" for score in detections.scores]
    return [
        (names[i - 1][0] if len(categories) > 1 else "", percent, names[i - 1][1])
        for i, percent in zip(detections.class_ids, percents, strict=True)
    ]


@cache
def palette_color(number: int, shade: int = 0) -> Color:
    """Returns the color of a class or an instance, a tuple (red, green, blue) of ints from 0 to 255.

    The color space is OKLab, where colors of equal lightness look equally light.

    Args:
        number: Class id, or index of the instance. The hues of consecutive numbers differ strongly.
        shade: Index of a lightness in `SHADES`, modulo their number. Defaults to 0.
    """
    hue = 0.5 + number * GOLDEN_ANGLE
    lightness = SHADES[shade % len(SHADES)]
    a, b = CHROMA * math.cos(hue), CHROMA * math.sin(hue)
    # Björn Ottosson, "A perceptual color space for image processing" (2020): OKLab to linear sRGB.
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return tuple(round(255 * min(max(channel, 0.0), 1.0) ** (1 / 2.2)) for channel in linear)


def _line_width(canvas):
    return max(round(LINE_WIDTH * math.sqrt(canvas.shape[0] * canvas.shape[1])), 1)


def draw_mask(
    canvas: np.ndarray, crop: np.ndarray, origin: tuple[int, int] | np.ndarray, *, color: Color
) -> None:
    """Tints the pixels of a mask and draws its outline, in-place.

    Args:
        canvas: `[H, W, 3]` uint8, RGB.
        crop: `[h, w]` bool, the mask in its own crop of the image.
        origin: (y, x) of the crop's first pixel in the image.
        color: (red, green, blue), 0 to 255.
    """
    if not crop.size:
        return
    width = max(min(_line_width(canvas), round(MAX_OUTLINE_WIDTH * min(crop.shape))), 1)
    outlines = [_fixed_point(outline) for outline in _outlines(crop, 2 * width + 1)]
    y, x = origin
    region = canvas[y : y + crop.shape[0], x : x + crop.shape[1]]
    fill = np.zeros(crop.shape, "uint8")
    cv2.fillPoly(fill, outlines, 255, cv2.LINE_8, SUBPIXEL_BITS)
    tint = _blend(np.arange(256)[:, None], color, FILL_OPACITY)  # [256, 3], lookup table per channel
    rows = max(STRIP_PIXELS // crop.shape[1], 1)
    for top in range(0, crop.shape[0], rows):  # strips limit the memory of copies
        strip = region[top : top + rows]
        cv2.copyTo(cv2.LUT(strip, tint[None]), fill[top : top + rows], strip)
    offset = np.array([x, y]) << SUBPIXEL_BITS
    shifted = [outline + offset for outline in outlines]
    cv2.polylines(canvas, shifted, True, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _outlines(crop, window):
    """Returns the outlines of a mask and its holes, `[P, 2]` (x, y) each, averaged over `window` points."""
    padded = np.pad(crop, 1).astype("uint8")
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for contour in contours:
        points = contour[:, 0].astype("float64") - 1  # [P, 2]
        if len(points) > 4 * window:
            ends = np.concatenate([points[-(window // 2) :], points, points[: window // 2]])
            sums = np.cumsum(np.pad(ends, ((1, 0), (0, 0))), axis=0)
            points = (sums[window:] - sums[:-window]) / window  # circular moving average
        outlines.append(points)
    return outlines


def _fixed_point(points):
    """Converts pixel indices (integers are pixel centers) to OpenCV's fixed-point integers."""
    return np.round(points * (1 << SUBPIXEL_BITS)).astype("int32")


def draw_box(canvas: np.ndarray, box: np.ndarray | Sequence[float], *, color: Color, opacity: float) -> None:
    """Draws the frame of a box just inside its edges, in-place.

    Args:
        canvas: `[H, W, 3]` uint8, RGB.
        box: `[4]`, yxyx, pixels.
        color: (red, green, blue), 0 to 255.
        opacity: Float from 0 to 1. Frames that are not opaque are half as wide.
    """
    width = _line_width(canvas) if opacity == 1 else max(_line_width(canvas) // 2, 1)
    y1, x1, y2, x2 = (round(float(side)) for side in box)
    for rows, columns in (
        (slice(y1, y1 + width), slice(x1, x2)),
        (slice(y2 - width, y2), slice(x1, x2)),
        (slice(y1 + width, y2 - width), slice(x1, x1 + width)),
        (slice(y1 + width, y2 - width), slice(x2 - width, x2)),
    ):
        edge = canvas[max(rows.start, 0) : max(rows.stop, 0), max(columns.start, 0) : max(columns.stop, 0)]
        edge[:] = _blend(edge, color, opacity)


def _blend(pixels, color, opacity):
    return np.round(pixels * (1 - opacity) + np.multiply(color, opacity)).astype("uint8")


def draw_keypoints(
    canvas: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Iterable[tuple[int, int]],
    *,
    color: Color,
    limb_colors: tuple[Color, Color] | None = None,
) -> None:
    """Draws keypoints with a score above 0.05 and the limbs between them, both with a rim, in-place.

    Args:
        canvas: `[H, W, 3]` uint8, RGB.
        keypoints: `[J, 3]`, (x, y, score), x and y in pixels, as in `Detections`.
        skeleton: Pairs of keypoint numbers, counted from 1, which a limb connects.
        color: (red, green, blue), 0 to 255, of the keypoints.
        limb_colors: Tuple of two colors: of the rims of the limbs, and of the limbs. Defaults to None,
            `color` and white.
    """
    rim, core = limb_colors or (color, WHITE)
    is_found = keypoints[:, 2] > MIN_KEYPOINT_SCORE
    if not is_found.any():
        return
    points = keypoints[:, :2].astype("float64") - 0.5  # pixel indices: integers are pixel centers
    extent = np.ptp(points[is_found], axis=0).max()
    width = max(min(_line_width(canvas), round(MAX_LIMB_WIDTH * extent)), 1)
    points = _fixed_point(points).tolist()
    for line_color, thickness in ((rim, width + 2), (core, width)):
        for i, j in skeleton:
            if is_found[i - 1] and is_found[j - 1]:
                cv2.line(
                    canvas, points[i - 1], points[j - 1], line_color, thickness, cv2.LINE_AA, SUBPIXEL_BITS
                )
    for disk_color, radius in ((WHITE, width + 1.5), (color, width + 0.5)):
        for i in np.flatnonzero(is_found):
            radius_fixed = round(radius * (1 << SUBPIXEL_BITS))
            cv2.circle(canvas, points[i], radius_fixed, disk_color, -1, cv2.LINE_AA, SUBPIXEL_BITS)
