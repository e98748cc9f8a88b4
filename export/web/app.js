/** The page: connects its elements with a `Session` and a `Detector`. */

import { hasCamera, takePicture } from "./camera.js";
import { createDetector } from "./detector.js";
import { drawnPicture, save } from "./downloads.js";
import { UserError } from "./errors.js";
import { listClasses, listModels, listObjects, markHighlight } from "./panel.js";
import { readPicture } from "./picture.js";
import { Session, titleOf } from "./session.js";
import { Stage, View } from "./stage.js";

const ZOOM_STEP = 1.5; // of the buttons

const $ = (id) => document.getElementById(id);
const session = new Session();
const view = new View();
const figures = [...document.querySelectorAll("#stages figure")];
const stages = figures.map(
  (figure, place) =>
    new Stage(
      figure.querySelector("canvas"),
      view,
      () => session.scene(place),
      (point) => highlight(session.objectAt(place, point)),
    ),
);
let detector;
let retry = null; // what "Try again" does
let work = new AbortController(); // of the detection in progress

/** Returns whether an action of the user ran; an error becomes a message, with `again` as "Try again". */
async function attempt(action, again = null) {
  hideError();
  try {
    await action();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!(error instanceof UserError)) console.error(error);
    showError(error, again);
    return false;
  }
}

function showError(error, again) {
  const isOurs = error instanceof UserError;
  $("error-text").textContent = isOurs ? error.message : `Something went wrong: ${error.message}`;
  $("token-form").hidden = !error.needsToken;
  retry = again;
  $("retry").hidden = !again || Boolean(error.needsToken);
  $("error").hidden = false;
  say("");
  if (error.needsToken) $("token").focus();
}

function hideError() {
  $("error").hidden = true;
}

function say(text) {
  $("status").textContent = text;
}

async function start() {
  detector ??= await createDetector();
  detector.onProgress = say;
  $("place").textContent = detector.place;
  $("add-model").hidden = !detector.addModel;
  say("Reading the list of models …");
  setModels(await detector.models());
  if (!session.models.length) throw new UserError("There is no model yet. Try again when one is loaded.");
  say("");
  await detect(); // of a picture that was opened meanwhile
}

function setModels(models) {
  session.models = models;
  session.chosen[0] = models.includes(session.chosen[0]) ? session.chosen[0] : (models[0] ?? null);
  listModels($("model"), models, session.chosen[0]);
  $("comparison").hidden = models.length < 2;
  listModels($("second"), models, session.chosen[1], "No other model");
}

/** Shows a picture, then finds its objects. */
async function open(blob, name) {
  if (await attempt(() => show(blob, name))) await attempt(detect, detect);
}

async function show(blob, name) {
  const picture = await readPicture(blob, name);
  work.abort();
  session.picture?.bitmap.close();
  session.picture = picture;
  for (const stage of stages) stage.picture = picture;
  $("stages").style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
  $("welcome").hidden = true;
  for (const id of ["stages", "toolbar", "keys"]) $(id).hidden = false;
  view.reset();
}

/** Asks the detector for the objects of the picture, with each chosen model. */
async function detect() {
  if (!session.picture || !session.chosen[0]) return;
  work.abort();
  work = new AbortController();
  const { signal } = work;
  session.clearResults();
  refresh();
  $("busy").hidden = false;
  try {
    for (const place of session.places()) {
      say(`Looking for objects with ${titleOf(session.chosen[place])} …`);
      const result = await detector.detect(session.chosen[place], session.picture, signal);
      signal.throwIfAborted();
      session.setResult(place, result);
      refresh();
    }
    tellResult();
  } finally {
    if (work.signal === signal) $("busy").hidden = true;
  }
}

function tellResult() {
  const [place] = session.shown();
  if (!session.results[place]) return;
  const texts = session.shown().map((each) => {
    const text = `${session.summary(each)} (${session.results[each].seconds.toFixed(2)} s)`;
    return session.shown().length > 1 ? `${titleOf(session.chosen[each])}: ${text}` : text;
  });
  say(texts.join("; "));
}

/** Shows the state of the session everywhere. */
function refresh() {
  const shown = session.shown();
  figures.forEach((figure, place) => {
    figure.hidden = !shown.includes(place);
    const model = session.chosen[place];
    figure.querySelector("figcaption").textContent = session.chosen[1] && model ? titleOf(model) : "";
    figure.querySelector("canvas").ariaLabel = `${session.picture?.name}, ${session.summary(place)}`;
    stages[place].draw();
  });
  $("layout").hidden = !session.chosen[1];
  const names = $("layout").querySelectorAll("span");
  names.forEach((name, place) => (name.textContent = `Only ${session.chosen[place]?.name}`));
  $("results").hidden = !session.results.some(Boolean);
  $("keypoints-layer").hidden = !session.hasKeypoints();
  $("score-value").textContent = `${Math.round(100 * session.leastScore)}%`;
  listClasses($("classes"), session, toggleClass);
  listObjects($("objects"), session, highlight);
}

function toggleClass(box) {
  if (box.checked) session.hidden.delete(box.value);
  else session.hidden.add(box.value);
  refresh();
  tellResult();
}

function highlight(detection) {
  session.highlight = detection;
  markHighlight($("objects"), detection);
  for (const stage of stages) stage.draw();
  if (detection) say(`${detection.category}, ${Math.round(100 * detection.score)}%`);
  else tellResult();
}

function openFile(file) {
  if (file) open(file, file.name || "picture");
}

async function useCamera() {
  const blob = await takePicture($("camera"));
  if (blob) await open(blob, "camera.jpg");
}

function saveJson() {
  const text = JSON.stringify(session.coco(), null, 1);
  save(new Blob([text], { type: "application/json" }), `${stem()}.json`);
}

async function savePicture() {
  const scenes = session.shown().map((place) => ({ ...session.scene(place), highlight: null }));
  save(await drawnPicture(session.picture, scenes), `${stem()}.objects.png`);
}

/** Returns the name of the picture without its suffix. */
function stem() {
  return session.picture.name.replace(/\.[^.]*$/, "") || "picture";
}

function setAllClasses(isShown) {
  session.hidden = new Set(isShown ? [] : session.classes().map(({ category }) => category));
  refresh();
  tellResult();
}

const ACTIONS = {
  choose: () => $("file").click(),
  camera: () => attempt(useCamera),
  larger: () => view.set(view.zoom * ZOOM_STEP, view.center),
  smaller: () => view.set(view.zoom / ZOOM_STEP, view.center),
  fit: () => view.reset(),
  all: () => setAllClasses(true),
  none: () => setAllClasses(false),
  json: () => attempt(saveJson),
  png: () => attempt(savePicture),
};

function listenToButtons() {
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => ACTIONS[button.dataset.action]());
    if (button.dataset.action === "camera") button.hidden = !hasCamera;
  }
  $("dismiss").addEventListener("click", () => {
    hideError();
    tellResult();
  });
  $("retry").addEventListener("click", () => attempt(retry, retry));
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    detector.token = $("token").value;
    const again = session.models.length ? detect : start;
    attempt(again, again);
  });
}

function listenToControls() {
  $("score").addEventListener("input", () => {
    session.leastScore = Number($("score").value);
    refresh();
  });
  $("score").addEventListener("change", tellResult);
  for (const [place, id] of ["model", "second"].entries()) {
    $(id).addEventListener("change", () => {
      session.chosen[place] = session.models.find((model) => model.key === $(id).value) ?? null;
      attempt(detect, detect);
    });
  }
  $("layout").addEventListener("change", (event) => {
    session.layout = event.target.value;
    refresh();
    tellResult();
  });
  $("layers").addEventListener("change", (event) => {
    session.layers[event.target.value] = event.target.checked;
    refresh();
  });
  view.addEventListener("change", () => {
    $("zoom").textContent = `${Math.round(100 * view.zoom)}%`;
    $("stages").classList.toggle("zoomed", view.zoom > 1);
  });
}

function listenToFiles() {
  $("file").addEventListener("change", () => {
    openFile($("file").files[0]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  $("add-model").addEventListener("click", () => $("model-file").click());
  $("model-file").addEventListener("change", () =>
    attempt(async () => {
      const model = await detector.addModel($("model-file").files[0]);
      session.chosen[0] = model;
      setModels(await detector.models());
      await detect();
    }),
  );
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) openFile(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    openFile(event.dataTransfer.files[0]);
  });
}

listenToButtons();
listenToControls();
listenToFiles();
attempt(start, start);
