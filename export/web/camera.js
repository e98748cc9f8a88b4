/** Takes a picture with the camera, in a dialog. */

import { UserError } from "./errors.js";

const JPEG_QUALITY = 0.95;

/** Whether the browser lets this page use a camera: it needs https, or a page of this machine. */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Shows the dialog; returns a promise of the picture as a Blob, or of null if it was closed.
 *
 * @param {HTMLDialogElement} dialog With a `video` and a button `[value="take"]`.
 */
export async function takePicture(dialog) {
  const stream = await openCamera();
  const video = dialog.querySelector("video");
  video.srcObject = stream;
  dialog.returnValue = "";
  dialog.showModal();
  try {
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    return dialog.returnValue === "take" ? await grab(video) : null;
  } finally {
    video.srcObject = null;
    for (const track of stream.getTracks()) track.stop();
  }
}

async function openCamera() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const reason =
      error.name === "NotAllowedError" ? "The browser did not allow it." : "No camera was found.";
    throw new UserError(`The camera cannot be used. ${reason} Choose a picture instead.`);
  }
}

async function grab(video) {
  if (!video.videoWidth) throw new UserError("The camera gave no picture yet. Try again.");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}
