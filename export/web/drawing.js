/** Draws a picture with its objects on a canvas. */

import { classColor, css, inkOn } from "./colors.js";

const FILL_OPACITY = 0.45;
const FAINT = 0.25; // opacity of the others when one object is highlighted
const LETTERS = 13; // screen pixels
const MARGIN = 5; // around the text of a label, screen pixels
const MIN_KEYPOINT_SCORE = 0.05;
const OUTLINES_PER_SIDE = 500; // width of a mask's outline: the side of the picture divided by this
const MAX_LINE_SHARE = 0.06; // of an object's shorter side: an outline must not bury a small object

const tinted = new WeakMap(); // detection -> canvas of its mask

/**
 * Draws a scene in the coordinates of the picture.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {object} picture Of `readPicture`.
 * @param {object} scene
 *   detections  What to draw, see `detector.js`; each with `shade`, its number in its class.
 *   layers      {masks, boxes, keypoints, labels}, booleans.
 *   highlight   One of the detections, or null.
 *   skeletons   {class name: [[from, to]]}.
 * @param {number} pixel Size of a pixel of the screen in pixels of the picture.
 */
export function drawScene(context, picture, scene, pixel) {
  const { layers, highlight } = scene;
  context.drawImage(picture.bitmap, 0, 0);
  const area = ({ box }) => box[2] * box[3];
  const large = [...scene.detections].sort((a, b) => area(b) - area(a)); // small ones stay visible
  const inOrder = [
    ...large.filter((each) => each !== highlight),
    ...large.filter((each) => each === highlight),
  ];
  const side = Math.sqrt(picture.width * picture.height);
  for (const each of inOrder) {
    const color = classColor(each.classNumber, each.shade);
    context.globalAlpha = highlight && each !== highlight ? FAINT : 1;
    if (layers.masks && each.mask) drawMask(context, each, color, side);
    if (layers.boxes) drawBox(context, each, color, pixel, layers.masks && each.mask);
    if (layers.keypoints && each.keypoints) drawKeypoints(context, each, scene.skeletons, color, pixel);
  }
  context.globalAlpha = 1;
  if (layers.labels) drawLabels(context, picture, highlight ? [highlight] : inOrder.reverse(), pixel);
}

function drawMask(context, detection, color, side) {
  if (!detection.mask.data.length) return;
  if (!tinted.has(detection)) tinted.set(detection, tint(detection.mask, color, side));
  context.drawImage(tinted.get(detection), detection.mask.x, detection.mask.y);
}

/** Returns a canvas of the size of a mask: its pixels tinted, its outline opaque. */
function tint({ width, height, data }, color, side) {
  const reach = Math.max(
    Math.round(Math.min(side / OUTLINES_PER_SIDE, MAX_LINE_SHARE * Math.min(width, height))),
    1,
  );
  const inner = erode(data, width, height, reach);
  const pixels = new ImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer); // a pixel each: much faster than four bytes
  const [fill, line] = [asWord(color, Math.round(255 * FILL_OPACITY)), asWord(color, 255)];
  data.forEach((inside, index) => {
    if (inside) words[index] = inner[index] ? fill : line;
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** Returns a pixel as a number whose bytes are red, green, blue, alpha in the order of memory. */
function asWord(color, alpha) {
  return new Uint32Array(Uint8Array.of(...color, alpha).buffer)[0];
}

/** Returns the pixels of a mask whose neighbors up to `reach` in each direction are all in it. */
function erode(data, width, height, reach) {
  const rows = erodeLines(data, height, width, width, 1, reach);
  return erodeLines(rows, width, height, 1, width, reach);
}

/** Erodes `lines` lines of `length` pixels; `next` is from line to line, `step` from pixel to pixel. */
function erodeLines(data, lines, length, next, step, reach) {
  const result = new Uint8Array(data.length);
  for (let line = 0; line < lines; line++) {
    let run = 0; // ones before this pixel, without a gap
    for (let index = 0; index <= length; index++) {
      if (index < length && data[line * next + index * step]) {
        run++;
        continue;
      }
      for (let inner = index - run + reach; inner < index - reach; inner++)
        result[line * next + inner * step] = 1;
      run = 0;
    }
  }
  return result;
}

function drawBox(context, { box }, color, pixel, isThin) {
  context.strokeStyle = css(color, isThin ? 0.75 : 1);
  context.lineWidth = (isThin ? 1.25 : 2) * pixel;
  context.strokeRect(...box);
}

function drawKeypoints(context, { keypoints, category }, skeletons, color, pixel) {
  const isFound = ([, , score]) => score > MIN_KEYPOINT_SCORE;
  const limbs = (skeletons[category] ?? []).map((ends) => ends.map((index) => keypoints[index]));
  context.lineCap = "round";
  for (const [ink, width] of [
    [css(color), 4],
    ["#fff", 2],
  ]) {
    context.strokeStyle = ink;
    context.lineWidth = width * pixel;
    context.beginPath();
    for (const [from, to] of limbs.filter((ends) => ends.every((end) => end && isFound(end)))) {
      context.moveTo(from[0], from[1]);
      context.lineTo(to[0], to[1]);
    }
    context.stroke();
  }
  for (const [ink, radius] of [
    ["#fff", 4.5],
    [css(color), 3],
  ]) {
    context.fillStyle = ink;
    for (const [x, y] of keypoints.filter(isFound)) {
      context.beginPath();
      context.arc(x, y, radius * pixel, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/** Writes labels where none hides another: above the box, in it, below it, or not at all. */
function drawLabels(context, picture, detections, pixel) {
  context.font = `600 ${LETTERS * pixel}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const height = (LETTERS + MARGIN) * pixel;
  const taken = [];
  for (const each of detections) {
    const text = `${each.category} ${Math.round(100 * each.score)}%`;
    const width = context.measureText(text).width + 2 * MARGIN * pixel;
    const place = freePlace(each.box, width, height, picture, taken);
    if (!place) continue;
    taken.push(place);
    const color = classColor(each.classNumber, each.shade);
    context.fillStyle = css(color);
    context.beginPath();
    context.roundRect(place.x, place.y, width, height, 3 * pixel);
    context.fill();
    context.fillStyle = inkOn(color);
    context.fillText(text, place.x + MARGIN * pixel, place.y + height / 2);
  }
}

function freePlace([x, y, boxWidth, boxHeight], width, height, picture, taken) {
  const left = Math.max(Math.min(x, picture.width - width), 0);
  const right = Math.max(Math.min(x + boxWidth, picture.width) - width, 0);
  const tops = [y - height, y, y + boxHeight, y + boxHeight - height];
  const places = tops.flatMap((top) => [left, right].map((start) => ({ x: start, y: top, width, height })));
  const apart = (a, b) =>
    a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
  return places.find(
    (place) =>
      place.y >= 0 && place.y + height <= picture.height && taken.every((other) => apart(place, other)),
  );
}
