/**
 * What a TFLite file of `mask-rcnn export` needs around it: from its bytes to a description, and from a
 * picture to detections, as `lite_runner.py` and `outputs.py` compute them. It knows nothing of LiteRT.js.
 */

import { readArchive } from "./archive.js";
import { UserError } from "./errors.js";
import { decodeKeypoints } from "./keypoints.js";
import { pasteMask, roundHalfEven } from "./masks.js";
import { letterbox } from "./resize.js";
import { HALF_PIXEL, LEAST_SCORE } from "./results.js";

const IDENTIFIER = "TFL3"; // bytes 4 to 8 of a TFLite file

/**
 * Returns a promise of the description of a model.
 *
 *   content     Uint8Array, the flatbuffer without what follows it.
 *   metadata    That of `metadata.json`.
 *   categories  [{id, name, keypoints, skeleton}], class i is entry i - 1.
 *   skeletons   {class name: [[from 0, to]]}.
 *   paste       How masks are put into the picture.
 *
 * @param {Uint8Array} bytes The file.
 */
export async function readModel(bytes) {
  try {
    const texts = await readArchive(bytes);
    const metadata = JSON.parse(texts["metadata.json"]);
    const categories = JSON.parse(texts["categories.json"]).sort((a, b) => a.class - b.class);
    const content = bytes.subarray(0, metadata.model_bytes);
    await checkContent(content, metadata);
    const skeletons = Object.fromEntries(
      categories.map(({ name, skeleton }) => [name, skeleton.map((ends) => ends.map((end) => end - 1))]),
    );
    const paste = /^\s*paste:\s*(\w+)/m.exec(texts["config.yaml"])?.[1] ?? "pixel_centers";
    return { content, metadata, categories, skeletons, paste };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      "Expected a complete TFLite file of `mask-rcnn export`. Received: another or a damaged file " +
        `(${error.message}). Copy the file again, or export the weights again.`,
    );
  }
}

/** Interpreters do not notice all damage. Browsers compute SHA-256 for https pages and this machine only. */
async function checkContent(content, metadata) {
  if (new TextDecoder("latin1").decode(content.subarray(4, 8)) !== IDENTIFIER) {
    throw new RangeError("it does not begin as a TFLite file");
  }
  if ((metadata.channels ?? 3) !== 3 || (metadata.dtype ?? "uint8") !== "uint8") {
    throw new UserError("This model is not for RGB pictures of 8 bits. Detect with it in Python instead.");
  }
  if (!globalThis.crypto?.subtle || !metadata.model_sha256) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const text = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (text !== metadata.model_sha256) throw new RangeError("its checksum is wrong");
}

/**
 * Returns a promise of the detections of a picture; see `detector.js`.
 *
 * @param {object} model Of `readModel`.
 * @param {function} run From `{image, image_size}` to a promise of the outputs, `{name: typed array}`.
 * @param {{width: number, height: number, data: Uint8Array}} picture RGB.
 */
export async function detectObjects(model, run, picture) {
  const { frame, resized } = letterbox(picture, model.metadata);
  const outputs = await run({ image: frame, image_size: Int32Array.from(resized) });
  const size = [picture.height, picture.width];
  const rows = Array.from({ length: outputs.num_detections[0] }, (_, row) => row);
  return rows
    .filter((row) => !(outputs.detection_scores[row] < LEAST_SCORE))
    .map((row) => detectionAt(row, model, outputs, resized, size));
}

function detectionAt(row, model, outputs, resized, size) {
  const { metadata } = model;
  const inFrame = Array.from(outputs.detection_boxes.subarray(4 * row, 4 * row + 4));
  const parts = metadata.inclusive_boxes ? wholePixels(inFrame, resized, size) : inFrame;
  const box = parts.map((part, side) => Math.fround(part * size[side % 2])); // y1, x1, y2, x2
  const classNumber = outputs.detection_classes[row];
  const category = model.categories[classNumber - 1];
  const heatmaps = rowOf(outputs, "detection_keypoint_heatmaps", row);
  const mask = rowOf(outputs, "detection_masks", row);
  return {
    classNumber,
    categoryId: category.id,
    category: category.name,
    score: outputs.detection_scores[row],
    box: [box[1], box[0], box[3] - box[1], box[2] - box[0]],
    mask: mask && pasteMask(mask, Math.sqrt(mask.length), box, size, model.paste),
    keypoints: heatmaps && keypointsAt(heatmaps, metadata, inFrame, resized, size),
  };
}

/** Returns the numbers of one detection in an output, or null where the model has no such output. */
function rowOf(outputs, name, row) {
  if (!outputs[name]) return null;
  const length = outputs[name].length / outputs.detection_scores.length;
  return outputs[name].subarray(row * length, (row + 1) * length);
}

/** Returns `[[x, y, score]]` in pixels of the picture. */
function keypointsAt(heatmaps, metadata, box, resized, size) {
  const count = metadata.keypoints.length;
  const side = Math.sqrt(heatmaps.length / count);
  const scaled = box.map((part, index) => part * resized[index % 2]);
  const shift = metadata.half_pixel ? 0 : HALF_PIXEL;
  return decodeKeypoints(heatmaps, side, count, scaled).map(([y, x, score]) => [
    (x / resized[1]) * size[1] + shift,
    (y / resized[0]) * size[0] + shift,
    score,
  ]);
}

/** Takes a box that names its last pixel to the picture, as matterport does; parts of it. */
function wholePixels(box, resized, size) {
  return box.map((part, side) => {
    const [shown, whole] = [resized[side % 2], size[side % 2]];
    const edge = side < 2 ? 0 : 1; // from the last pixel of a box to where it ends
    const scale = (whole - 1) / Math.max(shown - 1, 1);
    const pixel = roundHalfEven((part * shown - edge) * scale + edge);
    return Math.min(Math.max(pixel / whole, 0), 1);
  });
}
