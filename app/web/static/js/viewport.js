/** Where a picture lies in its view: pure arithmetic, in CSS pixels of the view and pixels of the original. */

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box CSS pixels */

/** How far one may zoom in: screen pixels per pixel of the largest level. */
const MOST = 8;
/** How far "fit" may enlarge: CSS pixels per pixel of the largest level. */
const MOST_FIT = 2;
/** The margin round a picture that is fitted, as a share of the view's shorter side, and its bounds in CSS pixels. */
const MAT = { share: 0.04, least: 10, most: 28 };

export class Viewport {
  constructor() {
    /** Size of the view, CSS pixels. */
    this.height = 0;
    this.width = 0;
    /** Size of the original picture, pixels. */
    this.pictureHeight = 1;
    this.pictureWidth = 1;
    /** The largest level, as a multiple of the original. */
    this.levels = 4;
    /** Screen pixels per CSS pixel. */
    this.density = 1;
    /** CSS pixels per pixel of the original. */
    this.scale = 1;
    /** Where the picture's top left corner lies, CSS pixels. */
    this.x = 0;
    this.y = 0;
    this.fitted = true;
  }

  /** @returns {number} the scale at which the whole picture is seen */
  get fitScale() {
    const mat = Math.min(MAT.most, Math.max(MAT.least, MAT.share * Math.min(this.height, this.width)));
    const height = Math.max(1, this.height - 2 * mat);
    const width = Math.max(1, this.width - 2 * mat);
    return Math.min(height / this.pictureHeight, width / this.pictureWidth, MOST_FIT * this.levels);
  }

  get mostScale() {
    return Math.max((MOST * this.levels) / this.density, this.fitScale);
  }

  /** @returns {boolean} whether there is more picture than view */
  get canPan() {
    return this.pictureHeight * this.scale > this.height + 1 || this.pictureWidth * this.scale > this.width + 1;
  }

  /** @returns {Box} the part of the view that the picture covers */
  get visible() {
    return {
      left: Math.max(0, this.x),
      top: Math.max(0, this.y),
      right: Math.min(this.width, this.x + this.pictureWidth * this.scale),
      bottom: Math.min(this.height, this.y + this.pictureHeight * this.scale),
    };
  }

  /** @param {number} level @returns {number} screen pixels per pixel of that level; 1 is "1:1" */
  zoomOf(level) {
    return (this.scale * this.density) / level;
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.#settle();
  }

  /** @param {number} level shown 1:1 @param {number} [atX] @param {number} [atY] a point that stays where it is */
  oneToOne(level, atX, atY) {
    this.zoomTo(level / this.density, atX, atY);
  }

  /** @param {number} scale @param {number} [atX] @param {number} [atY] a point of the view that stays where it is */
  zoomTo(scale, atX = this.width / 2, atY = this.height / 2) {
    const next = Math.min(Math.max(scale, Math.min(this.fitScale, 1 / this.density)), this.mostScale);
    const ratio = next / this.scale;
    this.x = atX - (atX - this.x) * ratio;
    this.y = atY - (atY - this.y) * ratio;
    this.scale = next;
    this.fitted = Math.abs(next - this.fitScale) < 1e-6;
    this.#settle();
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  /** @param {number} height @param {number} width of the view; what was in its middle stays there */
  resize(height, width) {
    const dx = (width - this.width) / 2;
    const dy = (height - this.height) / 2;
    this.height = height;
    this.width = width;
    if (this.fitted) this.fit();
    else this.pan(dx, dy);
  }

  /** No gap at an edge while there is picture left to fill it; what is smaller than the view is centred. */
  #settle() {
    this.x = settled(this.x, this.pictureWidth * this.scale, this.width, this.density);
    this.y = settled(this.y, this.pictureHeight * this.scale, this.height, this.density);
  }
}

/**
 * @param {number} at @param {number} length @param {number} room @param {number} density
 * @returns {number} on a whole screen pixel, so that 1:1 is sharp
 */
function settled(at, length, room, density) {
  const inside = length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at));
  return Math.round(inside * density) / density;
}
