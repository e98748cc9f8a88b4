/**
 * What finds the objects: a server, or LiteRT.js in this browser. Both have the same members.
 *
 * Detector:
 *   place      Where pictures go, a sentence for the user.
 *   models()   Promise of an array of Model.
 *   detect(model, picture, signal)   Promise of a Result. `picture` is that of `readPicture`, `signal` an
 *              AbortSignal.
 *
 *   onProgress       Function of a text that says what takes time; the page sets it.
 *   addModel(file)   Promise of a Model; only where files of the user can be run.
 *   token            Bearer token; only of a server.
 *
 * Model:      {key, name, version, skeletons: {class name: [[from, to]]}}, keypoints counted from 0
 * Result:     {width, height, seconds, detections}, best first, from score LEAST_SCORE.
 * Detection:  {classNumber, categoryId, category, score, box: [x, y, width, height], mask, keypoints}
 *   classNumber  1..K, for the color.
 *   mask         A crop, see `rle.js`, or null.
 *   keypoints    [[x, y, score]] in pixels, the center of pixel (0, 0) is (0.5, 0.5), or null.
 */

import { LiteDetector } from "./litert.js";
import { ServerDetector } from "./server.js";

/** Returns the detector of the `config.json` beside this file. */
export async function createDetector() {
  const response = await fetch(new URL("config.json", import.meta.url));
  const config = response.ok ? await response.json() : { backend: "server" };
  return config.backend === "litert" ? new LiteDetector(config) : new ServerDetector(document.baseURI);
}
