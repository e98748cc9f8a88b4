/** What the page shows: one picture, the results of one or two models, and what of them is hidden. */

import { cocoResults } from "./downloads.js";

export const DEFAULT_SCORE = 0.5;

export class Session {
  models = [];
  chosen = [null, null]; // Model of each of the two places, or null
  layout = "side"; // of two models: "side", or one at a time, "first" or "second"
  picture = null;
  results = [null, null];
  leastScore = DEFAULT_SCORE;
  hidden = new Set(); // names of classes
  layers = { masks: true, boxes: true, keypoints: true, labels: true };
  highlight = null;

  /** Returns the places, 0 and 1, that have a model. */
  places() {
    return this.chosen[1] ? [0, 1] : [0];
  }

  /** Returns the places that are on the screen. */
  shown() {
    if (!this.chosen[1] || this.layout === "first") return [0];
    return this.layout === "second" ? [1] : [0, 1];
  }

  /** Takes the result of a model; objects of a class get different shades, which stay. */
  setResult(place, result) {
    const seen = new Map();
    for (const each of result.detections) {
      each.shade = seen.get(each.category) ?? 0;
      seen.set(each.category, each.shade + 1);
    }
    this.results[place] = result;
  }

  clearResults() {
    this.results = [null, null];
    this.highlight = null;
  }

  /** Returns the detections of a place from the lowest score on, hidden classes included. */
  sure(place) {
    const detections = this.results[place]?.detections ?? [];
    return detections.filter((each) => each.score >= this.leastScore);
  }

  /** Returns the detections of a place that are drawn. */
  visible(place) {
    return this.sure(place).filter((each) => !this.hidden.has(each.category));
  }

  /** Returns the classes of all results by name, `[{category, classNumber, counts}]`, counts of `shown()`. */
  classes() {
    const found = new Map();
    for (const place of this.places()) {
      for (const { category, classNumber } of this.results[place]?.detections ?? []) {
        if (!found.has(category)) found.set(category, { category, classNumber, counts: [] });
      }
    }
    for (const entry of found.values()) {
      entry.counts = this.shown().map(
        (place) => this.sure(place).filter((each) => each.category === entry.category).length,
      );
    }
    return [...found.values()].sort((a, b) => a.category.localeCompare(b.category));
  }

  /** Returns whether a model has found keypoints. */
  hasKeypoints() {
    return this.places().some((place) => this.results[place]?.detections.some(({ keypoints }) => keypoints));
  }

  /** Returns what `drawScene` draws at a place. */
  scene(place) {
    const detections = this.visible(place);
    return {
      detections,
      layers: this.layers,
      highlight: detections.includes(this.highlight) ? this.highlight : null,
      skeletons: this.chosen[place]?.skeletons ?? {},
    };
  }

  /** Returns the smallest visible object of a place whose mask, or box, has a point, or null. */
  objectAt(place, [x, y]) {
    const contains = ({ box, mask }) =>
      mask
        ? mask.data[Math.floor(y - mask.y) * mask.width + Math.floor(x - mask.x)] === 1 &&
          x >= mask.x &&
          x < mask.x + mask.width
        : x >= box[0] && y >= box[1] && x < box[0] + box[2] && y < box[1] + box[3];
    const area = ({ box }) => box[2] * box[3];
    return (
      this.visible(place)
        .filter(contains)
        .sort((a, b) => area(a) - area(b))[0] ?? null
    );
  }

  /** Returns entries of a COCO results file for what is shown; of two models each entry names its model. */
  coco() {
    return this.shown().flatMap((place) => {
      const entries = cocoResults(this.visible(place), this.picture, this.picture.name);
      const model = this.chosen[place];
      return this.shown().length > 1
        ? entries.map((entry) => ({ ...entry, model: titleOf(model) }))
        : entries;
    });
  }

  /** Returns a sentence such as "3 objects: 2 fig, 1 date. 0.21 seconds." */
  summary(place) {
    const visible = this.visible(place);
    const counts = new Map();
    for (const { category } of visible) counts.set(category, (counts.get(category) ?? 0) + 1);
    const list = [...counts].map(([category, count]) => `${count} ${category}`).join(", ");
    const total = `${visible.length} ${visible.length === 1 ? "object" : "objects"}`;
    return list ? `${total}: ${list}` : `${total} from score ${Math.round(100 * this.leastScore)}%`;
  }
}

/** Returns the name of a model, with its version if it has several. */
export function titleOf(model) {
  return model.version ? `${model.name} (version ${model.version})` : model.name;
}
