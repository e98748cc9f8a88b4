"""Pictures of detections: masks with an outline, boxes, and labels that stay out of each other's way.

Every size follows from the size of the image, so that a thumbnail and a photograph of 20 megapixels
look alike. Large objects are drawn first: a small one in front of them stays visible.
"""

import math
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mask_rcnn.data.images import is_image_file, read_image
from mask_rcnn.fonts import label_names, open_font

# In units of the image's side, the root of its area: 11 px letters and 1.7 px lines at 640 x 480.
LETTER_SIZE = 0.02
LINE_WIDTH = 0.003
MIN_LETTER_SIZE = 11  # pixels; smaller ones cannot be read
MAX_LINE_SHARE = 0.06  # of an object's shorter side: an outline must not bury a small object

FILL_OPACITY = 0.4
BOX_OPACITY = 0.5  # beside masks; without masks boxes are opaque
MAX_HIDDEN = 0.5  # a label that hides more of any object than this is left out
MIN_KEYPOINT_SCORE = 0.05
MAX_LIMB_SHARE = 0.02  # width of a limb, of what the keypoints of an object span
WHITE = (255, 255, 255)

STRIP_PIXELS = 1 << 22  # of a region that are tinted at a time
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 of a pixel
CHROMA = 0.17  # as vivid as most hues can be on a screen
SHADES = (0.74, 0.64, 0.84)  # lightness
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # steps of it never come back to a hue that was used


def draw(image, detections, categories, colour_by="class", boxes=True, labels=True, scores=True, font=None):
    """Draws detections, or the truth, on a copy of an image.

    Args:
        image: `[H, W, 3]` uint8, RGB; or the path of an image file.
        detections: `Detections` of that image.
        categories: the K `Category` records; class id `i` is `categories[i - 1]`.
        colour_by: what gives an object its hue: `"class"`, the same in all pictures, in a different shade for
            each instance; or `"instance"`, for many objects of few classes.
        boxes: whether to draw the boxes.
        labels: whether to write class names; one that would hide an object or a label is left out.
        scores: whether to write scores beside them; the truth has none.
        font: path of a font for the class names. Defaults to None: the first font of Pillow, matplotlib and
            the system that has their letters. Letters that no font has are written as code points.

    Returns:
        `[H, W, 3]` uint8, RGB.
    """
    image = read_image(image) if is_image_file(image) else np.asarray(image)
    _check(image, detections, colour_by)
    canvas = np.ascontiguousarray(image).copy()
    heights, widths = (detections.boxes[:, 2:] - detections.boxes[:, :2]).T
    order = np.argsort(-heights * widths, kind="stable")  # large ones first
    hues = detections.class_ids if colour_by == "class" else np.arange(len(detections))
    colours = [colour(int(hue), shade=i) for i, hue in enumerate(hues)]

    if detections.masks is not None:
        for i in order:
            draw_mask(canvas, detections.masks[i], detections.mask_origins[i], colours[i])
    if boxes:
        opacity = 1.0 if detections.masks is None else BOX_OPACITY
        for i in order:
            draw_box(canvas, detections.boxes[i], colours[i], opacity)
    if detections.keypoints is not None:
        for i in order:
            skeleton = categories[detections.class_ids[i] - 1].skeleton
            draw_keypoints(canvas, detections.keypoints[i], skeleton, colours[i])
    if labels:
        texts = _texts(detections, categories, scores, font)
        _draw_labels(canvas, detections.boxes, order, texts, colours)
    return canvas


def _check(image, detections, colour_by):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "`image` must be RGB, [H, W, 3] uint8. "
            f"Received: dtype={image.dtype}, shape={image.shape}. Read it with `read_image`."
        )
    if image.shape[:2] != detections.image_size:
        raise ValueError(
            f"`detections` must be of this image, of size {image.shape[:2]}. "
            f"Received: detections.image_size={detections.image_size}. Give that image."
        )
    if colour_by not in ("class", "instance"):
        raise ValueError(
            f'`colour_by` must be "class" or "instance". Received: colour_by={colour_by!r}. Choose one.'
        )


def _texts(detections, categories, scores, font):
    """Returns (name, score, font) of each label; the name of the only class there is would say nothing."""
    names = label_names(tuple(categories), font)
    percents = [f"{score:.0%}" if scores else "" for score in detections.scores]
    return [
        (names[i - 1][0] if len(categories) > 1 else "", percent, names[i - 1][1])
        for i, percent in zip(detections.class_ids, percents, strict=True)
    ]


@cache
def colour(number, shade=0):
    """Returns the colour of class or instance `number` as (red, green, blue), 0..255.

    Neighbouring numbers get hues far apart; shades are lighter and darker versions of a hue.
    The space is OKLab, where colours of equal lightness look equally light.
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


def _side(canvas):
    return math.sqrt(canvas.shape[0] * canvas.shape[1])


def _line_width(canvas):
    return max(round(LINE_WIDTH * _side(canvas)), 1)


def draw_mask(canvas, crop, origin, colour):
    """Tints the pixels of a mask and draws its outline, in place.

    Args:
        canvas: `[H, W, 3]` uint8.
        crop: `[h, w]` bool.
        origin: (y, x) of its first pixel in the image.
        colour: (red, green, blue), 0..255.
    """
    if not crop.size:
        return
    width = max(min(_line_width(canvas), round(MAX_LINE_SHARE * min(crop.shape))), 1)
    outlines = [_fixed_point(outline) for outline in _outlines(crop, 2 * width + 1)]
    y, x = origin
    region = canvas[y : y + crop.shape[0], x : x + crop.shape[1]]
    inside = np.zeros(crop.shape, "uint8")
    cv2.fillPoly(inside, outlines, 255, cv2.LINE_8, SUBPIXEL_BITS)
    tint = _blend(np.arange(256)[:, None], colour, FILL_OPACITY)  # [256, 3]: what each brightness becomes
    rows = max(STRIP_PIXELS // crop.shape[1], 1)
    for top in range(0, crop.shape[0], rows):  # so that no large region is copied as a whole
        strip = region[top : top + rows]
        cv2.copyTo(cv2.LUT(strip, tint[None]), inside[top : top + rows], strip)
    offset = np.array([x, y]) << SUBPIXEL_BITS
    shifted = [outline + offset for outline in outlines]
    cv2.polylines(canvas, shifted, True, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _outlines(crop, window):
    """Returns the outlines of a mask and of its holes, `[P, 2]` (x, y) each, without the steps of pixels."""
    padded = np.pad(crop, 1).astype("uint8")
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for contour in contours:
        points = contour[:, 0].astype("float64") - 1  # [P, 2]
        if len(points) > 4 * window:
            ends = np.concatenate([points[-(window // 2) :], points, points[: window // 2]])
            sums = np.cumsum(np.pad(ends, ((1, 0), (0, 0))), axis=0)
            points = (sums[window:] - sums[:-window]) / window  # mean of `window` neighbours on the ring
        outlines.append(points)
    return outlines


def _fixed_point(points):
    """Converts coordinates of pixel centres to the integers that OpenCV draws with."""
    return np.round(points * (1 << SUBPIXEL_BITS)).astype("int32")


def draw_box(canvas, box, colour, opacity):
    """Draws the frame of a box just inside its edges, in place.

    Args:
        canvas: `[H, W, 3]` uint8.
        box: `[4]`, yxyx.
        colour: (red, green, blue), 0..255.
        opacity: From 0 to 1.
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
        edge[:] = _blend(edge, colour, opacity)


def _blend(pixels, colour, opacity):
    return np.round(pixels * (1 - opacity) + np.multiply(colour, opacity)).astype("uint8")


def draw_keypoints(canvas, keypoints, skeleton, colour, limb_colours=None):
    """Draws the keypoints that were found and lines between them, both with a rim, in place.

    Args:
        canvas: `[H, W, 3]` uint8.
        keypoints: `[J, 3]` (x, y, score), as in `Detections`.
        skeleton: Pairs of numbers of keypoints, from 1.
        colour: (red, green, blue), 0..255, of the keypoints.
        limb_colours: Those of the rims of the lines and of the lines. Defaults to `colour` and white.
    """
    rim, core = limb_colours or (colour, WHITE)
    found = keypoints[:, 2] > MIN_KEYPOINT_SCORE
    if not found.any():
        return
    points = keypoints[:, :2].astype("float64") - 0.5  # numbers of pixels
    height = np.ptp(points[found], axis=0).max()
    width = max(min(_line_width(canvas), round(MAX_LIMB_SHARE * height)), 1)
    points = _fixed_point(points).tolist()
    for ink, thickness in ((rim, width + 2), (core, width)):
        for i, j in skeleton:
            if found[i - 1] and found[j - 1]:
                cv2.line(canvas, points[i - 1], points[j - 1], ink, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    for ink, radius in ((WHITE, width + 1.5), (colour, width + 0.5)):
        for i in np.flatnonzero(found):
            radius_fixed = round(radius * (1 << SUBPIXEL_BITS))
            cv2.circle(canvas, points[i], radius_fixed, ink, -1, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_labels(canvas, boxes, order, texts, colours):
    """Draws each label at the best free place near its box, in place."""
    letter_size = max(round(LETTER_SIZE * _side(canvas)), MIN_LETTER_SIZE)
    taken = np.zeros((0, 4))
    for i in (i for i in order if any(texts[i][:2])):
        name, percent, path = texts[i]
        font = open_font(path, letter_size)
        ascent, descent = font.getmetrics()
        margin = max(round(0.25 * ascent), 2)
        text = _fitting(name, percent, font, canvas.shape[1] - 2 * margin)
        size = ascent + descent, math.ceil(font.getlength(text)) + 2 * margin
        place = _free_place(boxes[i], size, canvas.shape[:2], boxes, taken)
        if place is None:
            continue
        y1, x1, y2, x2 = place.tolist()
        taken = np.concatenate([taken, [place]])
        label = Image.new("RGB", (x2 - x1, y2 - y1), colours[i])
        ImageDraw.Draw(label).text((margin, 0), text, fill=_ink(colours[i]), font=font)
        canvas[y1:y2, x1:x2] = np.asarray(label)


def _fitting(name, percent, font, max_width):
    """Returns the text of a label, its name cut so that it is at most `max_width` pixels wide."""
    text = f"{name} {percent}".strip()
    length = len(name)
    while font.getlength(text) > max_width and length > 1:
        length -= 1
        text = f"{name[:length]}... {percent}".strip()
    return text


def _free_place(box, size, image_size, boxes, taken):
    """Returns where the label of a box hides least, or None where it would hide too much.

    Args:
        box: `[4]`, yxyx.
        size: (height, width) of the label.
        image_size: (height, width).
        boxes: `[N, 4]`, of all objects.
        taken: `[L, 4]`, the labels so far.

    Returns:
        `[4]` int, yxyx, or None. Of equal places the first: above the box, in it, below it.
    """
    (y1, x1, y2, x2), (height, width) = np.round(box).astype(int).tolist(), size
    tops = (y1 - height, y1, y2, y2 - height)
    places = np.array([(y, x, y + height, x + width) for y in tops for x in (x1, x2 - width)])  # [8, 4]
    left = np.clip(places[:, 1], 0, max(image_size[1] - width, 0))
    places[:, 1], places[:, 3] = left, left + width
    inside = (places[:, 0] >= 0) & (places[:, 2] <= image_size[0]) & (places[:, 3] <= image_size[1])
    places = places[inside & (_hidden(taken, places) == 0)]
    hidden = _hidden(boxes, places)
    return places[np.argmin(hidden)] if len(places) and hidden.min() <= MAX_HIDDEN else None


def _hidden(boxes, places):
    """Returns for each place the largest share of any box that it covers: `[N, 4], [P, 4] -> [P]`."""
    top_left = np.maximum(boxes[:, None, :2], places[:, :2])  # [N, P, 2]
    bottom_right = np.minimum(boxes[:, None, 2:], places[:, 2:])
    covered = np.prod(np.maximum(bottom_right - top_left, 0), axis=-1)  # [N, P]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return (covered / np.maximum(area, 1)[:, None]).max(axis=0, initial=0)


def _ink(colour):
    """Black or white, whichever reads better on `colour`."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)
