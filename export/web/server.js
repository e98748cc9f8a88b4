/** A Detector (see `detector.js`) that asks the server from which the page came. */

import { UserError } from "./errors.js";
import { classesById, fromCocoKeypoints, LEAST_SCORE } from "./results.js";
import { decodeRle } from "./rle.js";

const AWAY = "The server does not answer. Start it again with `mask-rcnn serve`, then try again.";

export class ServerDetector {
  place = "The picture goes to the server of this page and nowhere else.";

  /** @param {string} base Address of the page; the server may lie in a folder of a site. */
  constructor(base) {
    this.base = base;
    this.token = "";
  }

  async models() {
    const { models } = await this.#ask("models");
    return models.flatMap((model) =>
      model.versions.map((version) => ({
        key: `${model.name}/${version}`,
        name: model.name,
        version: model.versions.length > 1 ? version : "",
        server: { model: model.name, version },
        classes: model.classes,
        skeletons: Object.fromEntries(
          Object.entries(model.keypoints ?? {}).map(([name, { skeleton }]) => [name, skeleton ?? []]),
        ),
      })),
    );
  }

  async detect(model, picture, signal) {
    const query = new URLSearchParams({ ...model.server, score: LEAST_SCORE, masks: "rle" });
    const headers = { "Content-Type": picture.blob.type || "application/octet-stream" };
    const answer = await this.#ask(`detect?${query}`, {
      method: "POST",
      headers,
      body: picture.blob,
      signal,
    });
    const classes = classesById(model.classes);
    return {
      ...answer.image,
      seconds: answer.seconds,
      detections: answer.detections.map((each) => ({
        classNumber: classes.get(each.category_id)?.number ?? each.category_id,
        categoryId: each.category_id,
        category: each.category,
        score: each.score,
        box: each.bbox,
        mask: each.segmentation ? decodeRle(each.segmentation) : null,
        keypoints: each.keypoints ? fromCocoKeypoints(each.keypoints) : null,
      })),
    };
  }

  async #ask(path, options = {}) {
    const headers = { ...options.headers };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    let response;
    try {
      response = await fetch(new URL(path, this.base), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new UserError(AWAY);
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok || !answer) throw refusal(response, answer);
    return answer;
  }
}

/** Returns the error for an answer that is not a result. */
function refusal(response, answer) {
  const reason = answer?.error ?? `The server answered with status ${response.status}.`;
  if (response.status === 401) {
    return new UserError("This server asks for a token. Enter the one that it was started with.", {
      needsToken: true,
    });
  }
  if (response.status === 413) return new UserError(`The picture is too large for this server. ${reason}`);
  if (response.status === 429 || response.status === 503) {
    const seconds = response.headers.get("Retry-After") ?? "a few";
    return new UserError(`The server is busy. Try again in ${seconds} seconds. ${reason}`);
  }
  return new UserError(reason);
}
