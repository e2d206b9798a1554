/** The picture: the original and the result in one place, a divider between them, tiles lifting while it is worked on. */

import { part } from "./dom.js";
import { attachGestures } from "./gestures.js";
import { drawTileOverlay } from "./tile-overlay.js";
import { Viewport } from "./viewport.js";

/** @typedef {import("./entry.js").Size} Size */

const REVEAL_MS = 900;

export class Compare {
  #canvas = part("canvas", HTMLElement);
  #before = part("before", HTMLImageElement);
  #after = part("after", HTMLImageElement);
  #beforeLayer = part("layer-before", HTMLElement);
  #afterLayer = part("layer-after", HTMLElement);
  #beforeTag = part("tag-before", HTMLElement);
  #afterTag = part("tag-after", HTMLElement);
  #divider = part("divider", HTMLElement);
  #knob = part("knob", HTMLElement);
  #tileOverlay = part("tile-overlay", HTMLCanvasElement);
  #frame = 0;
  #reveal = 0;
  #share = 0.5;
  #level = 0;
  #hasBefore = false;
  /** @type {{done: number, total: number} | null} */
  #tiles = null;

  /** @param {(compare: Compare) => void} onMove called when zoom or place changed */
  constructor(onMove) {
    this.viewport = new Viewport();
    this.onMove = onMove;
    attachGestures(this.#canvas, this.#knob, this);
    new ResizeObserver(() => this.#resized()).observe(this.#canvas);
  }

  /** The level on show, or 0 while there is only the original. */
  get level() {
    return this.#level;
  }

  get isComparing() {
    return this.#level > 0 && this.#hasBefore;
  }

  /** @returns {number} 0..1 of the visible picture is the original */
  get share() {
    return this.#share;
  }

  /**
   * Show another picture, without its result as yet.
   * @param {string} name @param {string | null} url null: the browser cannot show it
   * @param {Size} size of the original @param {number} scale asked for
   */
  open(name, url, size, scale) {
    this.#stopReveal();
    this.#level = 0;
    this.#hasBefore = url !== null;
    this.#share = 0.5;
    this.#tiles = null;
    this.#before.hidden = url === null;
    if (url) this.#before.src = url;
    this.#before.alt = url ? `${name}, the original` : "";
    this.#after.removeAttribute("src");
    this.#canvas.setAttribute("aria-label", `Picture ${name}`);
    this.viewport.pictureHeight = size.height;
    this.viewport.pictureWidth = size.width;
    this.viewport.levels = scale;
    const aspect = Math.min(1.9, Math.max(0.8, size.width / size.height));
    this.#canvas.parentElement?.style.setProperty("--aspect", String(aspect));
    this.#measure();
    this.viewport.fit();
    this.refresh();
  }

  /** @param {{done: number, total: number} | null} tiles null: nothing is under way, no overlay */
  showTiles(tiles) {
    this.#tiles = tiles;
    this.refresh();
  }

  /**
   * @param {string} name @param {number} level @param {string} url of the result at that level
   * @param {boolean} fresh whether to let it come in from the right
   */
  reveal(name, level, url, fresh) {
    this.#level = level;
    this.#tiles = null;
    this.#after.src = url;
    this.#after.alt = `${name}, enlarged ×${level}`;
    this.#afterTag.textContent = `×${level}`;
    if (fresh && this.#hasBefore && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.#comeIn();
    this.refresh();
  }

  /** @param {number} share 0..1 */
  divide(share) {
    this.#stopReveal();
    this.#share = Math.min(1, Math.max(0, share));
    this.refresh();
  }

  /** @param {number} x CSS pixels from the view's left */
  divideAt(x) {
    const { left, right } = this.viewport.visible;
    this.divide((x - left) / Math.max(1, right - left));
  }

  /** @param {number} factor @param {number} [atX] @param {number} [atY] */
  zoomBy(factor, atX, atY) {
    this.viewport.zoomTo(this.viewport.scale * factor, atX, atY);
    this.refresh();
  }

  fit() {
    this.viewport.fit();
    this.refresh();
  }

  /** @param {number} [atX] @param {number} [atY] */
  oneToOne(atX, atY) {
    this.viewport.oneToOne(this.#level || 1, atX, atY);
    this.refresh();
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  pan(dx, dy) {
    this.viewport.pan(dx, dy);
    this.refresh();
  }

  /** Draw at the next frame. */
  refresh() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { viewport } = this;
    const { left, top, right, bottom } = viewport.visible;
    const height = viewport.pictureHeight * viewport.scale;
    const width = viewport.pictureWidth * viewport.scale;
    for (const image of [this.#before, this.#after]) {
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.transform = `translate(${viewport.x}px, ${viewport.y}px)`;
    }
    const comparing = this.isComparing;
    const at = left + (right - left) * this.#share;
    this.#beforeLayer.hidden = !this.#hasBefore;
    this.#afterLayer.hidden = this.#level === 0;
    this.#beforeLayer.style.clipPath = comparing ? `inset(0 ${viewport.width - at}px 0 0)` : "none";
    this.#afterLayer.style.clipPath = comparing ? `inset(0 0 0 ${at}px)` : "none";
    this.#beforeTag.style.transform = `translate(${left + 12}px, ${top + 12}px)`;
    this.#afterTag.style.transform = `translate(calc(${right - 12}px - 100%), ${top + 12}px)`;
    this.#divider.hidden = !comparing;
    this.#divider.style.transform = `translate(${at}px, ${top}px)`;
    this.#divider.style.height = `${bottom - top}px`;
    const percent = Math.round(this.#share * 100);
    this.#knob.setAttribute("aria-valuenow", String(percent));
    this.#knob.setAttribute("aria-valuetext", `${percent} % original, ${100 - percent} % enlarged ×${this.#level}`);
    this.#canvas.dataset["pan"] = String(viewport.canPan);
    this.#canvas.dataset["compare"] = String(comparing);
    drawTileOverlay(this.#tileOverlay, viewport, this.#tiles);
    this.onMove(this);
  }

  #comeIn() {
    const began = performance.now();
    this.#share = 1;
    const step = () => {
      const t = Math.min(1, (performance.now() - began) / REVEAL_MS);
      this.#share = 1 - 0.5 * (1 - (1 - t) ** 3);
      this.refresh();
      this.#reveal = t < 1 ? requestAnimationFrame(step) : 0;
    };
    this.#reveal = requestAnimationFrame(step);
  }

  #stopReveal() {
    cancelAnimationFrame(this.#reveal);
    this.#reveal = 0;
  }

  #measure() {
    this.viewport.density = window.devicePixelRatio || 1;
    this.viewport.resize(this.#canvas.clientHeight, this.#canvas.clientWidth);
  }

  #resized() {
    this.#measure();
    this.refresh();
  }
}
