/** Files for the user: COCO results and a drawn picture. */

import { drawScene } from "./drawing.js";
import { toCocoKeypoints } from "./results.js";
import { encodeRle } from "./rle.js";

const GAP = 16; // pixels between two pictures side by side
const LINES_PER_SIDE = 700; // sizes of letters and lines in a picture are those of a screen this wide

/**
 * Returns entries of a COCO results file.
 *
 * @param {object[]} detections See `detector.js`.
 * @param {{width: number, height: number}} picture
 * @param {string|number} imageId Put into each entry.
 */
export function cocoResults(detections, { width, height }, imageId) {
  return detections.map((each) => ({
    image_id: imageId,
    category_id: each.categoryId,
    category_name: each.category,
    bbox: each.box,
    score: each.score,
    ...(each.mask && { segmentation: encodeRle(each.mask, height, width) }),
    ...(each.keypoints && { keypoints: toCocoKeypoints(each.keypoints) }),
  }));
}

/**
 * Returns a promise of a PNG of the picture with its objects; several scenes lie side by side.
 *
 * @param {object} picture Of `readPicture`.
 * @param {object[]} scenes What `drawScene` draws on it.
 */
export function drawnPicture(picture, scenes) {
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width * scenes.length + GAP * (scenes.length - 1), height);
  const context = canvas.getContext("2d");
  const pixel = Math.sqrt(width * height) / LINES_PER_SIDE;
  scenes.forEach((scene, index) => {
    context.save();
    context.translate(index * (width + GAP), 0);
    drawScene(context, picture, scene, pixel);
    context.restore();
  });
  return canvas.convertToBlob({ type: "image/png" });
}

/** Lets the browser save a Blob as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
