/** The picture: the original and the result in one place, a divider between them, tiles lifting while it is worked on. */

import { part } from "./dom.js";
import { attachGestures } from "./gestures.js";
import { text } from "./texts.js";
import { drawTileOverlay } from "./tile-overlay.js";
import { Viewport } from "./viewport.js";

/** @typedef {import("./header.js").Size} Size */
/** @typedef {{url: string, alt: string, label: string, level: number}} Side level: how many times as large as the original, which has 1 */

const REVEAL_MS = 900;
/** CSS pixels between a corner of the picture and the choice in it, and a width in which two of them fit. */
const INSET = 10;
const LEAST_FOR_CHOICES = 260;

export class Compare {
  #canvas = part("canvas", HTMLElement);
  #before = part("before", HTMLImageElement);
  #after = part("after", HTMLImageElement);
  #beforeLayer = part("layer-before", HTMLElement);
  #afterLayer = part("layer-after", HTMLElement);
  #leftChoice = part("left", HTMLElement);
  #rightChoice = part("right", HTMLElement);
  #divider = part("divider", HTMLElement);
  #knob = part("knob", HTMLElement);
  #tileOverlay = part("tile-overlay", HTMLCanvasElement);
  #frame = 0;
  #reveal = 0;
  #share = 0.5;
  #level = 0;
  #hasBefore = false;
  /** What the two sides are called. */
  #names = { left: "", right: "" };
  /** @type {{done: number, total: number} | null} */
  #tiles = null;

  /** @param {(compare: Compare) => void} onMove called when zoom or place changed */
  constructor(onMove) {
    this.viewport = new Viewport();
    this.onMove = onMove;
    attachGestures(this.#canvas, this.#knob, this);
    new ResizeObserver(() => this.#resized()).observe(this.#canvas);
    this.#watchDensity();
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
   * Another picture, of which nothing is shown yet.
   * @param {string} name @param {Size} size of the original @param {number} scale the largest asked for
   */
  open(name, size, scale) {
    this.#stopReveal();
    this.#share = 0.5;
    this.#tiles = null;
    this.show(null, null);
    this.#canvas.setAttribute("aria-label", text("compare.picture", { name }));
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
   * @param {Side | null} left @param {Side | null} right on its own where there is no left
   * @param {boolean} [fresh] whether to let the right come in
   */
  show(left, right, fresh = false) {
    this.#hasBefore = left !== null;
    this.#level = right?.level ?? 0;
    this.#names = { left: left?.label ?? "", right: right?.label ?? "" };
    place(this.#before, left);
    place(this.#after, right);
    this.viewport.levels = Math.max(this.viewport.levels, left?.level ?? 1, right?.level ?? 1);
    if (right) this.#tiles = null;
    if (fresh && left && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.#comeIn();
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
    this.#placeChoices(left, top, right);
    this.#divider.hidden = !comparing;
    this.#divider.style.transform = `translate(${at}px, ${top}px)`;
    this.#divider.style.height = `${bottom - top}px`;
    const percent = Math.round(this.#share * 100);
    this.#knob.setAttribute("aria-valuenow", String(percent));
    const told = text("compare.share", { percent, rest: 100 - percent, ...this.#names });
    this.#knob.setAttribute("aria-valuetext", told);
    this.#canvas.dataset["pan"] = String(viewport.canPan);
    this.#canvas.dataset["compare"] = String(comparing);
    drawTileOverlay(this.#tileOverlay, viewport, this.#tiles);
    this.onMove(this);
  }

  /** @param {number} left @param {number} top @param {number} right of the picture: the choices lie in its corners */
  #placeChoices(left, top, right) {
    const isWide = right - left > LEAST_FOR_CHOICES;
    const from = isWide ? left : 0;
    const to = isWide ? right : this.viewport.width;
    this.#leftChoice.style.transform = `translate(${from + INSET}px, ${top + INSET}px)`;
    this.#rightChoice.style.transform = `translate(calc(${to - INSET}px - 100%), ${top + INSET}px)`;
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

  /** A window that is moved to another screen may keep its size in CSS pixels. */
  #watchDensity() {
    const same = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    const changed = () => {
      this.#resized();
      this.#watchDensity();
    };
    same.addEventListener("change", changed, { once: true });
  }
}

/** @param {HTMLImageElement} image @param {Side | null} side */
function place(image, side) {
  image.hidden = side === null;
  image.alt = side?.alt ?? "";
  if (!side) image.removeAttribute("src");
  else if (image.getAttribute("src") !== side.url) image.src = side.url;
}
