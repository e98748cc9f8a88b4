/** Canvases with a picture that can be zoomed and moved, with mouse, fingers and keys. */

import { drawScene } from "./drawing.js";

const MAX_ZOOM = 32; // times the size that fits
const KEY_STEP = 0.1; // of the canvas, for each press of an arrow key
const KEY_ZOOM = 1.25;
const WHEEL_ZOOM = 0.0015; // natural logarithm of the zoom for each pixel of the wheel
const SMOOTH_UP_TO = 3; // screen pixels for a pixel of the picture; larger ones are squares
const CLICK_REACH = 5; // pixels that a finger may move and still click

/** What part of the picture is shown; stages side by side share one. */
export class View extends EventTarget {
  zoom = 1;
  center = [0.5, 0.5]; // as parts of the picture

  reset() {
    this.set(1, [0.5, 0.5]);
  }

  set(zoom, center) {
    this.zoom = Math.min(Math.max(zoom, 1), MAX_ZOOM);
    // Only where the picture is larger than its canvas is there something to move.
    const slack = 0.5 * (1 - 1 / this.zoom);
    this.center = center.map((part) => Math.min(Math.max(part, 0.5 - slack), 0.5 + slack));
    this.dispatchEvent(new Event("change"));
  }
}

/** One canvas. `scene()` returns what `drawScene` draws; `onPick([x, y])` gets a point clicked on. */
export class Stage {
  #pointers = new Map();
  #moved = 0;
  #frame = 0;

  constructor(canvas, view, scene, onPick) {
    Object.assign(this, { canvas, view, scene, onPick, picture: null });
    view.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.#up(event));
    }
    canvas.addEventListener("dblclick", (event) => this.#zoomAt(this.view.zoom > 1 ? 0 : 3, event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Draws before the next frame of the screen, however often it is called. */
  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    const { canvas, picture } = this;
    if (!picture || !canvas.clientWidth) return;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const { scale, left, top } = this.#place();
    const context = canvas.getContext("2d");
    context.setTransform(scale * ratio, 0, 0, scale * ratio, left * ratio, top * ratio);
    context.imageSmoothingEnabled = scale * ratio < SMOOTH_UP_TO;
    context.imageSmoothingQuality = "high";
    drawScene(context, picture, this.scene(), 1 / scale);
  }

  /** Returns screen pixels for a pixel of the picture, and where its first pixel lies in the canvas. */
  #place() {
    const { canvas, picture, view } = this;
    const fit = Math.min(canvas.clientWidth / picture.width, canvas.clientHeight / picture.height);
    const scale = fit * view.zoom;
    const left = canvas.clientWidth / 2 - view.center[0] * picture.width * scale;
    const top = canvas.clientHeight / 2 - view.center[1] * picture.height * scale;
    return { scale, left, top };
  }

  #pointOf(event) {
    const { scale, left, top } = this.#place();
    return [(event.offsetX - left) / scale, (event.offsetY - top) / scale];
  }

  /** Zooms so that the point under the pointer stays where it is. */
  #zoomAt(factor, event) {
    if (!this.picture) return;
    const { view, picture } = this;
    const point = this.#pointOf(event);
    const before = view.zoom;
    const zoom = Math.min(Math.max(before * factor, 1), MAX_ZOOM);
    const sizes = [picture.width, picture.height];
    view.set(
      zoom,
      view.center.map((part, axis) => {
        const under = point[axis] / sizes[axis];
        return under + (part - under) * (before / zoom);
      }),
    );
  }

  #pan(x, y) {
    const { scale } = this.#place();
    const { view, picture } = this;
    view.set(view.zoom, [
      view.center[0] - x / (picture.width * scale),
      view.center[1] - y / (picture.height * scale),
    ]);
  }

  #wheel(event) {
    if (!this.picture) return;
    event.preventDefault();
    this.#zoomAt(Math.exp(-event.deltaY * WHEEL_ZOOM), event);
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    if (!this.#pointers.size) this.#moved = 0;
    this.#pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before || !this.picture) return;
    const now = [event.offsetX, event.offsetY];
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (others.length) {
      const [, other] = others[0];
      const distance = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
      const middle = { offsetX: (now[0] + other[0]) / 2, offsetY: (now[1] + other[1]) / 2 };
      this.#zoomAt(distance(now) / distance(before), middle);
    }
    const share = 1 / (1 + others.length);
    this.#pan((now[0] - before[0]) * share, (now[1] - before[1]) * share);
    this.#pointers.set(event.pointerId, now);
  }

  #up(event) {
    const isClick = this.#pointers.delete(event.pointerId) && event.type === "pointerup";
    if (isClick && this.picture && !this.#pointers.size && this.#moved <= CLICK_REACH) {
      this.onPick(this.#pointOf(event));
    }
  }

  #key(event) {
    if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const { view, canvas } = this;
    const [x, y] = [KEY_STEP * canvas.clientWidth, KEY_STEP * canvas.clientHeight];
    const actions = {
      "+": () => view.set(view.zoom * KEY_ZOOM, view.center),
      "=": () => view.set(view.zoom * KEY_ZOOM, view.center),
      "-": () => view.set(view.zoom / KEY_ZOOM, view.center),
      0: () => view.reset(),
      ArrowLeft: () => this.#pan(x, 0),
      ArrowRight: () => this.#pan(-x, 0),
      ArrowUp: () => this.#pan(0, y),
      ArrowDown: () => this.#pan(0, -y),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
