/**
 * Masks as COCO writes them: lengths of runs, column by column, zeros first, as text of 6 bits a character.
 *
 * A mask is a crop of the picture everywhere else: `{x, y, width, height, data}`, where `data` is a
 * Uint8Array of 0 and 1, row by row, and (x, y) is the pixel of the picture where its first pixel lies.
 */

const FIRST_CHARACTER = 48; // "0"

/** Returns the lengths of the runs of a compressed `counts` text. */
export function countsFromText(text) {
  const counts = [];
  for (let position = 0; position < text.length;) {
    let value = 0;
    let shift = 0;
    let character;
    do {
      character = text.charCodeAt(position++) - FIRST_CHARACTER;
      value |= (character & 0x1f) << shift;
      shift += 5;
    } while (character & 0x20 && position < text.length);
    if (character & 0x10 && shift < 32) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}

/** Returns the compressed text of the lengths of runs. */
export function textFromCounts(counts) {
  let text = "";
  counts.forEach((count, index) => {
    let value = index > 2 ? count - counts[index - 2] : count;
    let more = true;
    while (more) {
      let bits = value & 0x1f;
      value >>= 5;
      more = bits & 0x10 ? value !== -1 : value !== 0;
      if (more) bits |= 0x20;
      text += String.fromCharCode(bits + FIRST_CHARACTER);
    }
  });
  return text;
}

/** Returns `{size: [H, W], counts}` as a crop; the counts are compressed text or an array. */
export function decodeRle({ size, counts }) {
  const runs = onesOf(typeof counts === "string" ? countsFromText(counts) : counts);
  const [imageHeight, imageWidth] = size;
  const box = boundsOf(runs, imageHeight);
  if (runs.some(([start, end]) => start < 0 || end > imageHeight * imageWidth)) {
    throw new RangeError(`Expected a mask of ${imageWidth} x ${imageHeight} pixels. Received: longer runs.`);
  }
  const data = new Uint8Array(box.width * box.height);
  for (const [start, end] of runs) {
    for (let pixel = start; pixel < end; pixel++) {
      const column = Math.floor(pixel / imageHeight);
      data[(pixel - column * imageHeight - box.y) * box.width + column - box.x] = 1;
    }
  }
  return { ...box, data };
}

/** Returns a crop as `{size: [H, W], counts}` with compressed counts. */
export function encodeRle(mask, imageHeight, imageWidth) {
  const flips = []; // where runs of ones begin and end
  for (let column = 0; column < mask.width; column++) {
    const top = (mask.x + column) * imageHeight + mask.y;
    for (let row = 0; row < mask.height; row++) {
      if (!mask.data[row * mask.width + column]) continue;
      if (flips.length && flips[flips.length - 1] === top + row) flips[flips.length - 1]++;
      else flips.push(top + row, top + row + 1);
    }
  }
  const counts = flips.map((flip, index) => flip - (index ? flips[index - 1] : 0));
  const rest = imageHeight * imageWidth - (flips.length ? flips[flips.length - 1] : 0);
  if (rest > 0) counts.push(rest);
  return { size: [imageHeight, imageWidth], counts: textFromCounts(counts) };
}

/** Returns [start, end) of each run of ones. */
function onesOf(counts) {
  const runs = [];
  let position = 0;
  counts.forEach((count, index) => {
    if (index % 2 && count > 0) runs.push([position, position + count]);
    position += count;
  });
  return runs;
}

/** Returns the smallest box around all runs of columns of `height` pixels. */
function boundsOf(runs, height) {
  if (!runs.length) return { x: 0, y: 0, width: 0, height: 0 };
  const left = Math.floor(runs[0][0] / height);
  const right = Math.floor((runs[runs.length - 1][1] - 1) / height);
  let [top, bottom] = [height, -1];
  for (const [start, end] of runs) {
    const last = end - 1;
    const isOneColumn = Math.floor(start / height) === Math.floor(last / height);
    top = Math.min(top, isOneColumn ? start % height : 0);
    bottom = Math.max(bottom, isOneColumn ? last % height : height - 1);
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}
