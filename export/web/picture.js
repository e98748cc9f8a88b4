/** Pictures of the user: read, turned upright, and as pixels. */

import { UserError } from "./errors.js";

const MAX_BYTES = 64 * 2 ** 20;
const MAX_PIXELS = 50e6; // as much as mask_rcnn reads

/**
 * Returns a picture `{name, blob, bitmap, width, height}`.
 *
 * @param {Blob} blob File, or what was pasted or taken by the camera.
 * @param {string} name Its name, for downloads.
 */
export async function readPicture(blob, name) {
  if (blob.size > MAX_BYTES) {
    const size = Math.round(blob.size / 2 ** 20);
    throw new UserError(
      `The picture is too large: ${size} MiB, at most ${MAX_BYTES / 2 ** 20} MiB are read. ` +
        "Choose a smaller one.",
    );
  }
  const bitmap = await decode(blob, name);
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    bitmap.close();
    throw new UserError(
      `The picture is too large: ${width} x ${height} pixels, at most ${MAX_PIXELS / 1e6} million. ` +
        "Make it smaller first.",
    );
  }
  return { name, blob, bitmap, width, height };
}

async function decode(blob, name) {
  try {
    // No color conversion: the model was trained on the numbers in the files.
    return await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    const kind = blob.type ? `${name} (${blob.type})` : name;
    throw new UserError(
      `This file is not a picture that the browser can read: ${kind}. ` +
        "Choose a JPEG, PNG, WebP, GIF or BMP file.",
    );
  }
}

/** Returns `{width, height, data}` of a picture, `data` RGB of 8 bits, row by row. */
export function pixelsOf(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture.bitmap, 0, 0);
  const { data: rgba } = context.getImageData(0, 0, picture.width, picture.height);
  const data = new Uint8Array(picture.width * picture.height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width: picture.width, height: picture.height, data };
}
