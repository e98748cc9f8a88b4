/** What both detectors share. */

/** Asked of the detector; the slider hides the rest without asking again. */
export const LEAST_SCORE = 0.05;
/** From the number of a pixel, as COCO writes keypoints, to its center. */
export const HALF_PIXEL = 0.5;

/** Returns a COCO category number, name and color number for each class of a model, by category id. */
export function classesById(classes) {
  return new Map(classes.map((each, index) => [each.id, { ...each, number: index + 1 }]));
}

/** Returns flat COCO keypoints, in numbers of pixels, as `[[x, y, score]]` in pixels. */
export function fromCocoKeypoints(values) {
  return Array.from({ length: values.length / 3 }, (_, index) => [
    values[3 * index] + HALF_PIXEL,
    values[3 * index + 1] + HALF_PIXEL,
    values[3 * index + 2],
  ]);
}

/** Returns keypoints `[[x, y, score]]` as COCO writes them. */
export function toCocoKeypoints(keypoints) {
  return keypoints.flatMap(([x, y, score]) => [x - HALF_PIXEL, y - HALF_PIXEL, score]);
}
