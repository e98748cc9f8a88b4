/** The page's numbers are Python's: `cases.json` beside this file holds inputs and what Python makes of them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { readArchive } from "./archive.js";
import { classColor } from "./colors.js";
import { decodeKeypoints } from "./keypoints.js";
import { detectObjects, readModel } from "./lite_model.js";
import { pasteMask } from "./masks.js";
import { letterbox, resize } from "./resize.js";
import { fromCocoKeypoints, toCocoKeypoints } from "./results.js";
import { decodeRle, encodeRle } from "./rle.js";
import { ServerDetector } from "./server.js";
import { Session } from "./session.js";

const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)));
const modelBytes = new Uint8Array(readFileSync(new URL("model.tflite", import.meta.url)));

function pictureOf({ width, height, data }) {
  return { width, height, data: Uint8Array.from(data) };
}

function largestDifference(found, expected) {
  assert.equal(found.length, expected.length);
  return expected.reduce((largest, value, index) => Math.max(largest, Math.abs(value - found[index])), 0);
}

/** Returns all pixels of a crop in the picture, row by row. */
function wholeMask(crop, [height, width]) {
  const mask = new Array(height * width).fill(0);
  crop.data.forEach((value, index) => {
    const row = crop.y + Math.floor(index / crop.width);
    mask[row * width + crop.x + (index % crop.width)] = value;
  });
  return mask;
}

test("compressed RLE is decoded as pycocotools does", () => {
  assert.ok(cases.rle.length > 5);
  for (const { size, counts, mask } of cases.rle) {
    assert.deepEqual(wholeMask(decodeRle({ size, counts }), size), mask);
  }
});

test("crops are encoded as pycocotools encodes their masks", () => {
  for (const { size, counts } of cases.rle) {
    assert.deepEqual(encodeRle(decodeRle({ size, counts }), ...size), { size, counts });
  }
});

test("a mask that is longer than its picture is refused", () => {
  assert.throws(() => decodeRle({ size: [2, 2], counts: [0, 9] }), /2 x 2 pixels. Received: longer runs/);
});

test("masks are pasted as mask_rcnn.postprocessing.paste does", () => {
  assert.ok(cases.paste.length > 10);
  for (const { mask, side, box, size, method, expected } of cases.paste) {
    const crop = pasteMask(Float32Array.from(mask), side, box, size, method);
    assert.deepEqual(wholeMask(crop, size), expected, `${method} ${box}`);
  }
});

test("pictures are resized as in training", () => {
  for (const { picture, size, method, expected, tolerance } of cases.resize) {
    const found = resize(pictureOf(picture), size, method);
    assert.ok(largestDifference(found, expected) <= tolerance, `${method} ${size}`);
  }
});

test("pictures are put into the frame as lite_runner.letterbox does", () => {
  for (const { picture, metadata, frame, resized, origin } of cases.letterbox) {
    const found = letterbox(pictureOf(picture), metadata);
    assert.deepEqual([found.resized, found.origin], [resized, origin]);
    // Pillow 13 begins with the columns in tall pictures, which is one gray level off now and then.
    assert.ok(largestDifference(found.frame, frame) <= (picture.height > 4 * picture.width ? 1 : 0));
  }
});

test("keypoints are found where lite_runner.decode_keypoints finds them", () => {
  for (const { heatmaps, side, count, box, expected } of cases.keypoints) {
    const found = decodeKeypoints(Float32Array.from(heatmaps), side, count, box);
    assert.ok(largestDifference(found.flat(), expected) < 1e-4);
  }
});

test("keypoints are written and read in COCO's pixel indices as to_coco does", () => {
  assert.equal(cases.coco_keypoints.length, 2);
  for (const { points, flat } of cases.coco_keypoints) {
    assert.ok(largestDifference(toCocoKeypoints(points), flat) < 1e-5);
    assert.ok(largestDifference(fromCocoKeypoints(flat).flat(), points.flat()) < 1e-5);
  }
});

test("classes have the colors of mask_rcnn.draw", () => {
  for (const { number, shade, color } of cases.colors) assert.deepEqual(classColor(number, shade), color);
});

test("the associated files of a model are read", async () => {
  assert.deepEqual(await readArchive(modelBytes), cases.assets);
});

test("a damaged model is refused", async () => {
  const flipped = modelBytes.slice();
  flipped[20] ^= 1;
  await assert.rejects(readModel(flipped), /complete TFLite file .*its checksum is wrong/);
  await assert.rejects(readModel(modelBytes.slice(0, -30)), /it carries no associated files/);
});

test("the outputs of a model become the detections of Python", async () => {
  for (const { picture, metadata, paste, outputs, expected } of cases.detections) {
    const model = { ...(await readModel(modelBytes)), metadata, paste };
    const arrays = Object.entries(outputs).map(([name, values]) => [name, Float32Array.from(values)]);
    const found = await detectObjects(model, () => Object.fromEntries(arrays), pictureOf(picture));
    assert.equal(found.length, expected.length);
    found.forEach((each, index) => {
      const { bbox, score, category_id: id, mask, keypoints } = expected[index];
      assert.ok(largestDifference(each.box, bbox) < 1e-3);
      assert.ok(largestDifference(each.keypoints.flat(), keypoints) < 1e-3);
      assert.deepEqual([each.categoryId, each.category, each.score], [id, "cat", score]);
      assert.deepEqual(wholeMask(each.mask, [picture.height, picture.width]), mask);
    });
  }
});

function detection(category, classNumber, score, box = [0, 0, 2, 2]) {
  return { category, categoryId: 7, classNumber, score, box, mask: null, keypoints: null };
}

function sessionWith(...detections) {
  const session = new Session();
  session.picture = { name: "photo.png", width: 8, height: 6 };
  session.chosen[0] = { name: "fruits", version: "", skeletons: {} };
  session.setResult(0, { width: 8, height: 6, seconds: 1, detections });
  return session;
}

test("the score and the classes decide what is shown, counted and saved", () => {
  const session = sessionWith(detection("fig", 1, 0.9), detection("fig", 1, 0.4), detection("date", 2, 0.8));
  assert.deepEqual(
    session.classes().map(({ category, counts }) => [category, counts]),
    [
      ["date", [1]],
      ["fig", [1]],
    ],
  );
  session.leastScore = 0.3;
  session.hidden.add("date");
  assert.equal(session.summary(0), "2 objects: 2 fig");
  const entry = { image_id: "photo.png", category_id: 7, category_name: "fig", bbox: [0, 0, 2, 2], score: 0.9 };
  assert.deepEqual(session.coco()[0], entry);
  assert.equal(session.coco().length, 2);
});

test("keypoints can be hidden only if there are any", () => {
  const session = sessionWith(detection("fig", 1, 0.9));
  assert.equal(session.hasKeypoints(), false);
  session.results[0].detections[0].keypoints = [[1, 2, 0.9]];
  assert.equal(session.hasKeypoints(), true);
  session.clearResults();
  assert.equal(session.hasKeypoints(), false);
});

test("of two models each entry names its model", () => {
  const session = sessionWith(detection("fig", 1, 0.9));
  session.chosen[1] = { name: "nuts", version: "2", skeletons: {} };
  session.setResult(1, { width: 8, height: 6, seconds: 1, detections: [detection("nut", 1, 0.7)] });
  assert.deepEqual(
    session.coco().map(({ model }) => model),
    ["fruits", "nuts (version 2)"],
  );
  session.layout = "second";
  assert.deepEqual(
    session.coco().map(({ category_name: name }) => name),
    ["nut"],
  );
});

test("a click finds the smallest object under it", () => {
  const small = detection("fig", 1, 0.9, [1, 1, 2, 2]);
  const session = sessionWith(detection("date", 2, 0.8, [0, 0, 8, 6]), small);
  assert.equal(session.objectAt(0, [1.5, 2.5]), small);
  assert.equal(session.objectAt(0, [7, 5]).category, "date");
  assert.equal(session.objectAt(0, [9, 5]), null);
});

for (const [status, headers, body, message, needsToken] of [
  [401, {}, { error: "no token" }, /asks for a token/, true],
  [413, {}, { error: "At most 10 MB." }, /too large for this server. At most 10 MB/, false],
  [429, { "Retry-After": "3" }, { error: "full" }, /busy. Try again in 3 seconds/, false],
  [400, {}, { error: "not an image" }, /^not an image$/, false],
  [500, {}, "oops", /answered with status 500/, false],
]) {
  test(`status ${status} of a server is said plainly`, async (context) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    context.mock.method(globalThis, "fetch", async () => new Response(text, { status, headers }));
    await assert.rejects(new ServerDetector("http://localhost/").models(), (error) => {
      assert.match(error.message, message);
      assert.equal(error.needsToken, needsToken);
      return true;
    });
  });
}
