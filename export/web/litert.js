/** A Detector (see `detector.js`) that runs TFLite files in this browser, in a worker. */

import { UserError } from "./errors.js";
import { pixelsOf } from "./picture.js";

export class LiteDetector {
  place = "The picture stays in this browser: nothing is sent anywhere.";
  onProgress = () => {};
  #answers = new Map(); // {resolve, reject} by the number of the question
  #asked = 0;
  #models;
  #worker;

  /** @param {object} config `models`: [{name, file}], files relative to the page. */
  constructor(config) {
    this.#models = config.models.map(({ name, file }) => ({
      key: file,
      name,
      version: "",
      source: new URL(file, document.baseURI).href,
      skeletons: {},
    }));
    // Pages without https have no service workers, nor do some private windows; the page works without.
    navigator.serviceWorker?.register(new URL("sw.js", document.baseURI)).catch(() => {});
  }

  /** Starts when it is needed: the service worker, which keeps its files, is there by then. */
  #startWorker() {
    this.#worker = new Worker(new URL("litert_worker.js", import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) =>
      this.#fail(`The model cannot be run in this browser. ${event.message ?? ""}`);
  }

  async models() {
    return [...this.#models];
  }

  /** Adds a TFLite file of the user; returns its Model. */
  async addModel(file) {
    const key = `${file.name} ${this.#models.length}`;
    const model = { key, name: file.name.replace(/\.tflite$/, ""), version: "", source: file, skeletons: {} };
    Object.assign(model, await this.#ask({ load: model.source, key }));
    this.#models.push(model);
    return model;
  }

  async detect(model, picture, signal) {
    Object.assign(model, await this.#ask({ load: model.source, key: model.key }));
    signal.throwIfAborted();
    const pixels = pixelsOf(picture);
    const { detections, seconds } = await this.#ask({ detect: pixels, key: model.key }, [pixels.data.buffer]);
    return { width: picture.width, height: picture.height, seconds, detections };
  }

  #ask(question, transfer = []) {
    if (!this.#worker) this.#startWorker();
    const number = ++this.#asked;
    this.#worker.postMessage({ ...question, number }, transfer);
    return new Promise((resolve, reject) => this.#answers.set(number, { resolve, reject }));
  }

  #receive({ number, answer, error, progress }) {
    if (progress) {
      this.onProgress(progress);
      return;
    }
    const { resolve, reject } = this.#answers.get(number);
    this.#answers.delete(number);
    if (error) reject(new UserError(error));
    else resolve(answer);
  }

  #fail(message) {
    for (const { reject } of this.#answers.values()) reject(new UserError(message));
    this.#answers.clear();
  }
}
