"""Draws labels of objects on an image. They do not overlap, and cover other objects as little as possible."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mask_rcnn.visualization.fonts import open_font

LETTER_SIZE = 0.02  # relative to the square root of the image area: 11 pixels at 640 x 480
MIN_LETTER_SIZE = 11  # pixels; smaller letters are not readable
MAX_HIDDEN = 0.5  # a label that would cover a larger fraction of any box is not drawn


def draw_labels(
    canvas: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[tuple[str, str, str | Path | None]],
    *,
    colors: Sequence[tuple[int, int, int]],
    order: Iterable[int],
) -> None:
    """Draws each label at the best free place near its box, in-place. Omits labels without a free place.

    Args:
        canvas: `[H, W, 3]` uint8, RGB.
        boxes: `[N, 4]`, yxyx, pixels, boxes of all objects.
        texts: N tuples (name, score, path of a font for `open_font`). Names and scores may be empty.
        colors: N tuples (red, green, blue), 0 to 255.
        order: Indices of the objects, in the order in which their labels are placed.
    """
    letter_size = max(round(LETTER_SIZE * math.sqrt(canvas.shape[0] * canvas.shape[1])), MIN_LETTER_SIZE)
    taken = np.zeros((0, 4))
    for i in (i for i in order if any(texts[i][:2])):
        name, percent, path = texts[i]
        font = open_font(path, letter_size)
        ascent, descent = font.getmetrics()
        margin = max(round(0.25 * ascent), 2)
        text = _shortened(name, percent, font=font, max_width=canvas.shape[1] - 2 * margin)
        size = ascent + descent, math.ceil(font.getlength(text)) + 2 * margin
        place = _free_place(boxes[i], size, image_size=canvas.shape[:2], boxes=boxes, taken=taken)
        if place is None:
            continue
        y1, x1, y2, x2 = place.tolist()
        taken = np.concatenate([taken, [place]])
        label = Image.new("RGB", (x2 - x1, y2 - y1), colors[i])
        ImageDraw.Draw(label).text((margin, 0), text, fill=_text_color(colors[i]), font=font)
        canvas[y1:y2, x1:x2] = np.asarray(label)


def _shortened(name: str, percent: str, *, font: ImageFont.FreeTypeFont, max_width: int) -> str:
    """Returns the text of a label. Shortens the name if the text is wider than `max_width` pixels."""
    text = f"{name} {percent}".strip()
    length = len(name)
    while font.getlength(text) > max_width and length > 1:
        length -= 1
        text = f"{name[:length]}... {percent}".strip()
    return text


def _free_place(box, size, *, image_size, boxes, taken):
    """Returns the place for the label of a box that covers the objects least.

    Args:
        box: `[4]`, yxyx, pixels.
        size: (height, width) of the label, pixels.
        image_size: (height, width) of the image.
        boxes: `[N, 4]`, yxyx, boxes of all objects.
        taken: `[L, 4]`, yxyx, places of the labels that are already drawn.

    Returns:
        `[4]` int, yxyx. Among equal places, above the box is preferred to inside, and inside to below it.
        None if each place is outside the image, overlaps a label, or covers more than `MAX_HIDDEN` of a box.
    """
    (y1, x1, y2, x2), (height, width) = np.round(box).astype(int).tolist(), size
    tops = (y1 - height, y1, y2, y2 - height)
    places = np.array([(y, x, y + height, x + width) for y in tops for x in (x1, x2 - width)])  # [8, 4]
    left = np.clip(places[:, 1], 0, max(image_size[1] - width, 0))
    places[:, 1], places[:, 3] = left, left + width
    is_inside = (places[:, 0] >= 0) & (places[:, 2] <= image_size[0]) & (places[:, 3] <= image_size[1])
    places = places[is_inside & (_hidden(taken, places) == 0)]
    hidden = _hidden(boxes, places)
    return places[np.argmin(hidden)] if len(places) and hidden.min() <= MAX_HIDDEN else None


def _hidden(boxes, places):
    """Returns the largest fraction of any box that each place covers: `[N, 4], [P, 4] -> [P]`."""
    top_left = np.maximum(boxes[:, None, :2], places[:, :2])  # [N, P, 2]
    bottom_right = np.minimum(boxes[:, None, 2:], places[:, 2:])
    covered = np.prod(np.maximum(bottom_right - top_left, 0), axis=-1)  # [N, P]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return (covered / np.maximum(area, 1)[:, None]).max(axis=0, initial=0)


def _text_color(color):
    """Returns black or white, whichever has more contrast to `color`."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)
