/**
 * Runs models with LiteRT.js beside the page, so that the page stays responsive.
 *
 * A classic worker: LiteRT.js loads its WebAssembly with `importScripts`, which module workers refuse.
 *
 * Questions: {number, key, load: address or File}, {number, key, detect: picture}.
 * Answers: {number, answer} or {number, error}; {progress: text} before them.
 */

const WASM = new URL("../litert/wasm/", self.location).href;
const THREADED = "litert_wasm_threaded_internal.js";

const models = new Map(); // key -> {description, compiled}
let runtime; // promise of the modules
let last = Promise.resolve(); // questions are answered one after another

self.onmessage = ({ data }) => {
  last = last.then(() => reply(data));
};

async function reply(question) {
  const { number } = question;
  try {
    const answer = await (question.load ? load(question) : detect(question));
    self.postMessage({ number, answer });
  } catch (error) {
    self.postMessage({ number, error: error.message || String(error) });
  }
}

/** Returns a promise of the modules; after a failure, such as a lost network, the next call tries again. */
function startRuntime() {
  runtime ??= importRuntime().catch((error) => {
    runtime = undefined;
    throw error;
  });
  return runtime;
}

async function importRuntime() {
  const [liteRt, liteModel] = await Promise.all([import("../litert/index.js"), import("./lite_model.js")]);
  // Threads need memory that is shared, which browsers give to isolated pages only; see README.txt.
  const threads = self.crossOriginIsolated && (await liteRt.supportsFeature("relaxedSimd"));
  // LiteRT.js hands this object to its WebAssembly, which looks beside this worker otherwise.
  self.Module = { locateFile: (name) => WASM + name, mainScriptUrlOrBlob: WASM + THREADED, printErr };
  await liteRt.loadLiteRt(WASM, { threads });
  return { liteRt, liteModel };
}

/** LiteRT.js writes all its notes to stderr, which browsers show as errors. */
function printErr(line) {
  if (line.startsWith("ERROR")) console.error(line);
  else console.debug(line);
}

async function load({ key, load: source }) {
  if (!models.has(key)) {
    self.postMessage({ progress: "Loading the model …" });
    const { liteRt, liteModel } = await startRuntime();
    const description = await liteModel.readModel(await bytesOf(source));
    const compiled = await liteRt.loadAndCompile(description.content, { accelerator: "wasm" });
    description.content = null; // LiteRT.js has its own copy
    models.set(key, { description, compiled });
  }
  return { skeletons: models.get(key).description.skeletons };
}

async function bytesOf(source) {
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const response = await fetch(source).catch(() => null);
  if (!response?.ok) {
    const reason = response ? `status ${response.status}` : "no connection";
    throw new Error(`The model could not be loaded: ${source} (${reason}). Try again when you are online.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function detect({ key, detect: picture }) {
  self.postMessage({ progress: "Looking for objects …" });
  const { liteRt, liteModel } = await startRuntime();
  const { description, compiled } = models.get(key);
  const start = performance.now();
  const run = (inputs) => runModel(liteRt, compiled, inputs, description.metadata.size);
  const detections = await liteModel.detectObjects(description, run, picture);
  return { detections, seconds: (performance.now() - start) / 1000 };
}

/** Returns a promise of the outputs, `{name: typed array}`; frees the tensors, which JavaScript does not. */
async function runModel(liteRt, compiled, { image, image_size: imageSize }, [height, width]) {
  const inputs = {
    image: new liteRt.Tensor(image, [1, height, width, 3]),
    image_size: new liteRt.Tensor(imageSize, [1, 2]),
  };
  const outputs = await compiled.run(inputs);
  const values = {};
  for (const [name, tensor] of Object.entries(outputs)) values[name] = tensor.toTypedArray().slice();
  for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
  return values;
}
