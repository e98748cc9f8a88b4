/** Finds the keypoints of a detection in its heatmaps, as `lite_runner.decode_keypoints` does. */

const CUBIC = -0.75; // slope of cubic interpolation at distance 1, OpenCV's

/**
 * Returns the keypoints of one detection as `[y, x, score]` in the pixels of the box.
 *
 * @param {Float32Array} heatmaps S * S * J logits: row, column, keypoint.
 * @param {number} side S.
 * @param {number} count J.
 * @param {number[]} box y1, x1, y2, x2.
 */
export function decodeKeypoints(heatmaps, side, count, box) {
  const size = [Math.max(box[2] - box[0], 1), Math.max(box[3] - box[1], 1)];
  const [height, width] = size.map(Math.ceil);
  const [rows, columns] = [cubicTaps(side, height), cubicTaps(side, width)];
  return Array.from({ length: count }, (_, keypoint) => {
    const plane = Float64Array.from({ length: side * side }, (_, cell) => heatmaps[cell * count + keypoint]);
    const best = highestPoint(plane, side, rows, columns);
    const highest = plane.reduce((a, b) => Math.max(a, b));
    const total = plane.reduce((sum, logit) => sum + Math.exp(logit - highest), 0);
    return [
      box[0] + ((best.row + 0.5) * size[0]) / height,
      box[1] + ((best.column + 0.5) * size[1]) / width,
      Math.exp(best.value - highest) / total,
    ];
  });
}

/** Returns the first of the highest points of the enlarged plane, `{row, column, value}`. */
function highestPoint(plane, side, rows, columns) {
  const best = { row: 0, column: 0, value: -Infinity };
  const line = new Float64Array(side);
  rows.forEach((rowTaps, row) => {
    line.fill(0);
    for (const [cell, weight] of rowTaps) {
      for (let column = 0; column < side; column++) line[column] += weight * plane[cell * side + column];
    }
    columns.forEach((columnTaps, column) => {
      let value = 0;
      for (const [cell, weight] of columnTaps) value += weight * line[cell];
      if (value > best.value) Object.assign(best, { row, column, value });
    });
  });
  return best;
}

/** Returns `[cell, weight]` of the four cells that each of `target` samples sees; the border is repeated. */
function cubicTaps(length, target) {
  return Array.from({ length: target }, (_, index) => {
    const position = ((index + 0.5) * length) / target - 0.5;
    const first = Math.floor(position) - 1;
    return [0, 1, 2, 3].map((tap) => {
      const cell = Math.min(Math.max(first + tap, 0), length - 1);
      return [cell, cubic(Math.abs(position - first - tap))];
    });
  });
}

function cubic(x) {
  if (x <= 1) return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
  return CUBIC * (((x - 5) * x + 8) * x - 4);
}
