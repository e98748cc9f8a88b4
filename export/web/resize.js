/**
 * Puts a picture into the frame that an exported model sees, as `lite_runner.letterbox` does.
 *
 * Pixels are Uint8Array, row by row, 3 channels (RGB).
 */

import { roundHalfEven } from "./masks.js";

const PRECISION_BITS = 22; // of Pillow's weights: 32, less 8 of the pixel and 2 to spare

/**
 * Returns `{frame, resized, origin}`: the pixels of the frame, and (height, width) and (y, x) of the picture
 * in it.
 *
 * @param {{width: number, height: number, data: Uint8Array}} picture RGB.
 * @param {object} metadata `size` (height, width), `resize`, `size_rounding`, `centered` of the model.
 */
export function letterbox(picture, metadata) {
  const { size } = metadata;
  const sides = [picture.height, picture.width];
  const scale = Math.min(size[0] / sides[0], size[1] / sides[1]);
  const half = metadata.size_rounding === "floor" ? 0 : 0.5;
  const resized = sides.map((side, axis) =>
    Math.min(Math.max(Math.trunc(side * scale + half), 1), size[axis]),
  );
  const origin = metadata.centered ? size.map((limit, axis) => (limit - resized[axis]) >> 1) : [0, 0];
  const pixels = resize(picture, resized, metadata.resize);
  const frame = new Uint8Array(size[0] * size[1] * 3);
  for (let row = 0; row < resized[0]; row++) {
    const line = pixels.subarray(row * resized[1] * 3, (row + 1) * resized[1] * 3);
    frame.set(line, ((row + origin[0]) * size[1] + origin[1]) * 3);
  }
  return { frame, resized, origin };
}

/** Returns a picture of `size` (height, width) as pixels; `method` is `input.resize` of the config. */
export function resize(picture, size, method) {
  if (method === "antialiased_uint8") return resizeAsPillow(picture, size);
  return interpolate(picture, size, method === "uint8");
}

/** Pillow's bilinear filter, to the bit: along the rows, then along the columns, each rounded to 8 bits. */
function resizeAsPillow({ width, height, data }, [newHeight, newWidth]) {
  const columns = triangles(width, newWidth);
  const rows = triangles(height, newHeight);
  // Pillow leaves an axis alone that keeps its length.
  const narrow = width === newWidth ? data : filterRows(data, width, height, newWidth, columns);
  return height === newHeight ? narrow : filterColumns(narrow, newWidth, newHeight, rows);
}

/** Returns `{first, weights}` of each output pixel: the first input pixel it sees, and whole numbers. */
function triangles(inputs, outputs) {
  const scale = inputs / outputs;
  const support = Math.max(scale, 1);
  return Array.from({ length: outputs }, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const last = Math.min(Math.trunc(center + support + 0.5), inputs);
    const distances = Array.from({ length: last - first }, (_, tap) => first + tap + 0.5 - center);
    const weights = distances.map((distance) => Math.max(1 - Math.abs(distance / support), 0));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return {
      first,
      weights: weights.map((weight) => Math.trunc((weight / total) * 2 ** PRECISION_BITS + 0.5)),
    };
  });
}

/** Sums of weights and pixels stay below 2 ** 31, so whole numbers of 32 bits hold them. */
const rounded = (sum) => Math.min((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS, 255);

function filterRows(data, width, height, newWidth, columns) {
  const result = new Uint8Array(newWidth * height * 3);
  for (let row = 0; row < height; row++) {
    columns.forEach(({ first, weights }, column) => {
      let red = 0;
      let green = 0;
      let blue = 0;
      let at = (row * width + first) * 3;
      for (const weight of weights) {
        red += weight * data[at++];
        green += weight * data[at++];
        blue += weight * data[at++];
      }
      const to = (row * newWidth + column) * 3;
      result[to] = rounded(red);
      result[to + 1] = rounded(green);
      result[to + 2] = rounded(blue);
    });
  }
  return result;
}

function filterColumns(data, width, newHeight, rows) {
  const stride = width * 3;
  const result = new Uint8Array(stride * newHeight);
  const sums = new Int32Array(stride);
  rows.forEach(({ first, weights }, row) => {
    sums.fill(0);
    weights.forEach((weight, tap) => {
      const line = (first + tap) * stride;
      for (let index = 0; index < stride; index++) sums[index] += weight * data[line + index];
    });
    for (let index = 0; index < stride; index++) result[row * stride + index] = rounded(sums[index]);
  });
  return result;
}

/**
 * Bilinear without antialiasing. With `isBlack`, the border blends with black and fractions are dropped (the
 * `uint8` of matterport's models); otherwise the border is repeated and values are rounded.
 */
function interpolate({ width, height, data }, [newHeight, newWidth], isBlack) {
  const result = new Uint8Array(newHeight * newWidth * 3);
  const rows = nearestPixels(height, newHeight);
  const columns = nearestPixels(width, newWidth);
  const pixel = (row, column, channel) => {
    if (isBlack && (row < 0 || row >= height || column < 0 || column >= width)) return 0;
    const y = Math.min(Math.max(row, 0), height - 1);
    const x = Math.min(Math.max(column, 0), width - 1);
    return data[(y * width + x) * 3 + channel];
  };
  rows.forEach(([y, down], row) => {
    columns.forEach(([x, right], column) => {
      for (let channel = 0; channel < 3; channel++) {
        const left = mixed(pixel(y, x, channel), pixel(y + 1, x, channel), down);
        const value = mixed(left, mixed(pixel(y, x + 1, channel), pixel(y + 1, x + 1, channel), down), right);
        result[(row * newWidth + column) * 3 + channel] = isBlack ? value : roundHalfEven(value);
      }
    });
  });
  return result;
}

/** In float32, as NumPy computes: a value near a whole number must fall on the same side. */
function mixed(first, second, share) {
  return Math.fround(Math.fround(first * Math.fround(1 - share)) + Math.fround(second * share));
}

/** Returns the first of the two pixels around each sample, and the share of the second. */
function nearestPixels(length, target) {
  return Array.from({ length: target }, (_, index) => {
    const position = Math.fround((index + 0.5) * (length / target) + 0.5);
    const first = Math.floor(position);
    return [first - 1, Math.fround(position - first)];
  });
}
