/**
 * Puts the small mask of a detection into its box in the picture, as `mask_rcnn.postprocessing.paste` does.
 *
 * The three methods are those of `mask_head.paste` in the config of a model. Letters: M side of the mask.
 */

const THRESHOLD = 0.5; // Mask R-CNN, section 3.1

/**
 * Returns the pixels of one object as a crop `{x, y, width, height, data}`; see `rle.js`.
 *
 * @param {Float32Array} mask M * M probabilities, row by row.
 * @param {number} side M.
 * @param {number[]} box y1, x1, y2, x2 in pixels of the picture.
 * @param {number[]} size (height, width) of the picture.
 * @param {string} method "pixel_centers", "padded_resize" or "rounded_box".
 */
export function pasteMask(mask, side, box, size, method = "pixel_centers") {
  let axis = pixelCenterAxis;
  if (method === "padded_resize") {
    box = grow(box, (side + 2) / side);
    [mask, side] = [padded(mask, side), side + 2];
    axis = resizedAxis;
  } else if (method === "rounded_box") {
    box = box.map(roundHalfEven);
  } else if (method !== "pixel_centers") {
    throw new RangeError(`Expected a known way to paste masks. Received: ${method}. Export the model again.`);
  }
  const rows = axis(box[0], box[2], size[0], side);
  const columns = axis(box[1], box[3], size[1], side);
  const isFull = method === "rounded_box" && mask.every((value) => value >= THRESHOLD);
  const data = isFull
    ? new Uint8Array(rows.positions.length * columns.positions.length).fill(1)
    : threshold(mask, side, rows.positions, columns.positions);
  return {
    x: columns.first,
    y: rows.first,
    width: columns.positions.length,
    height: rows.positions.length,
    data,
  };
}

/** Interpolates the mask linearly in y, then in x, and compares; points beyond the grid count as zero. */
function threshold(mask, side, yPositions, xPositions) {
  const data = new Uint8Array(yPositions.length * xPositions.length);
  const line = new Float64Array(side);
  const at = (value) => (value >= 0 && value < side ? line[value] : 0);
  yPositions.forEach((y, row) => {
    const above = Math.floor(y);
    const share = y - above;
    for (let column = 0; column < side; column++) {
      const upper = above >= 0 && above < side ? mask[above * side + column] : 0;
      const lower = above >= -1 && above < side - 1 ? mask[(above + 1) * side + column] : 0;
      line[column] = upper * (1 - share) + lower * share;
    }
    xPositions.forEach((x, column) => {
      const left = Math.floor(x);
      const value = at(left) * (1 - (x - left)) + at(left + 1) * (x - left);
      data[row * xPositions.length + column] = value >= THRESHOLD ? 1 : 0;
    });
  });
  return data;
}

/** Returns the first pixel of an axis and where the center of each pixel lies in the grid. */
function pixelCenterAxis(start, end, limit, side) {
  if (end <= start) return { first: 0, positions: [] };
  const [first, last] = clip(Math.floor(start), Math.ceil(end), limit);
  const place = (index) => ((first + index + 0.5 - start) / (end - start)) * side - 0.5;
  return { first, positions: Array.from({ length: last - first }, (_, index) => place(index)) };
}

/** As `pixelCenterAxis`, for a box of whole pixels whose far edge is included. */
function resizedAxis(start, end, limit, side) {
  const pixels = Math.max(end - start + 1, 1);
  const [first, last] = clip(start, start + pixels, limit);
  const place = (index) => ((first + index - start + 0.5) * side) / pixels - 0.5;
  const inside = (value) => Math.min(Math.max(value, 0), side - 1);
  return { first, positions: Array.from({ length: last - first }, (_, index) => inside(place(index))) };
}

function clip(start, end, limit) {
  const first = Math.min(Math.max(start, 0), limit);
  return [first, Math.max(Math.min(Math.max(end, 0), limit), first)];
}

/** Scales a box about its center and drops the fractions of its corners. */
function grow([y1, x1, y2, x2], scale) {
  const [y, x] = [(y1 + y2) / 2, (x1 + x2) / 2];
  const [halfHeight, halfWidth] = [((y2 - y1) * scale) / 2, ((x2 - x1) * scale) / 2];
  return [y - halfHeight, x - halfWidth, y + halfHeight, x + halfWidth].map(Math.trunc);
}

/** Returns an M x M mask with a border of zeros. */
function padded(mask, side) {
  const result = new Float32Array((side + 2) ** 2);
  for (let row = 0; row < side; row++) {
    result.set(mask.subarray(row * side, (row + 1) * side), (row + 1) * (side + 2) + 1);
  }
  return result;
}

/** Rounds as NumPy does: halves to the even neighbor. */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
