/** What a picture is to become: the values that a person chooses, and what they mean for a request. */

import { text } from "./texts.js";

/**
 * @typedef {"png" | "original" | "webp" | "webp-exact" | "jpeg" | "avif"} Format
 *   original: as the picture came, where that can be written, else PNG; webp-exact: without loss
 * @typedef {"auto" | "0" | "0.25" | "0.5" | "0.75" | "1"} Clean strength of the clean-up; auto: by the picture
 * @typedef {"standard" | "medium" | "high" | "best"} Quality what is done for the result: the better, the slower
 * @typedef {"long_side" | "width" | "height" | "scale"} By what a wished size is given by: a side in pixels, or a factor
 * @typedef {Readonly<{scale: number, fits: boolean, by: By, amount: number, quality: Quality, clean: Clean,
 *   network: string, format: Format, lossy: number}>} Settings
 *   fits: whether `by` and `amount` give the size, and not `scale`, one of SCALES; network: by name, for its purpose, or empty; lossy: quality 1..100 of lossy formats
 * @typedef {"png" | "webp" | "jpeg" | "avif"} Written
 */

/** @type {readonly Format[]} */
export const FORMATS = ["png", "original", "webp", "webp-exact", "jpeg", "avif"];
export const SCALES = [2, 4, 8];
/** What `by` can be, with the least and most amount, and one to begin with. @type {Record<By, {least: number, most: number, first: number}>} */
export const SIZES = {
  long_side: { least: 1, most: 99999, first: 3840 },
  width: { least: 1, most: 99999, first: 1920 },
  height: { least: 1, most: 99999, first: 1080 },
  scale: { least: 1, most: 8, first: 3 },
};
export const BYS = /** @type {By[]} */ (Object.keys(SIZES));
/** @type {readonly Clean[]} */
export const CLEANS = ["auto", "0", "0.25", "0.5", "0.75", "1"];
/** @type {readonly Quality[]} */
export const QUALITIES = ["standard", "medium", "high", "best"];
/** @type {Settings} */
export const DEFAULTS = Object.freeze({
  scale: 4,
  fits: false,
  by: "long_side",
  amount: SIZES.long_side.first,
  quality: "standard",
  clean: "auto",
  network: "",
  format: "png",
  lossy: 90,
});

/** How formats are called. @type {Record<string, string>} */
const NAMES = { webp: "WebP", jxl: "JPEG XL" };

/** @param {string} format in lower case @returns {string} */
export function formatName(format) {
  return NAMES[format] ?? format.toUpperCase();
}

/** @param {Record<string, unknown>} values from storage or an address @returns {Settings} what is valid of them */
export function sane(values) {
  const scale = Number(values["scale"]);
  const by = BYS.find((name) => name === values["by"]) ?? DEFAULTS.by;
  const amount = Number(values["amount"]);
  const lossy = Math.round(Number(values["lossy"]));
  const format = FORMATS.find((name) => name === values["format"]);
  return {
    scale: SCALES.includes(scale) ? scale : DEFAULTS.scale,
    fits: values["fits"] === true && isAmount(by, amount),
    by,
    amount: isAmount(by, amount) ? amount : SIZES[by].first,
    quality: QUALITIES.find((quality) => quality === values["quality"]) ?? (String(values["best"]) === "true" ? "best" : DEFAULTS.quality),
    clean: CLEANS.find((strength) => strength === values["clean"]) ?? DEFAULTS.clean,
    network: typeof values["network"] === "string" ? values["network"] : "",
    format: format ?? DEFAULTS.format,
    lossy: lossy >= 1 && lossy <= 100 ? lossy : DEFAULTS.lossy,
  };
}

/** @param {By} by @param {number} amount @returns {boolean} whether it is allowed: whole pixels, or any factor in the range */
export function isAmount(by, amount) {
  const { least, most } = SIZES[by];
  return amount >= least && amount <= most && (by === "scale" || Number.isInteger(amount));
}

/** @param {URLSearchParams} address such as scale=2, scale=1.5 or width=1920 @returns {Partial<Settings>} the size in it */
export function sizeIn(address) {
  const by = BYS.findLast((name) => isAmount(name, Number(address.get(name) ?? "")));
  if (!by) return {};
  const amount = Number(address.get(by));
  return by === "scale" && SCALES.includes(amount) ? { scale: amount, fits: false } : { fits: true, by, amount };
}

/** @param {Settings} settings @returns {string} of a request, such as "scale=4" or "long_side=3840" */
function sizeOf({ scale, fits, by, amount }) {
  return fits ? `${by}=${amount}` : `scale=${scale}`;
}

/**
 * @param {Settings} settings @param {import("./header.js").Size} size of the upright picture
 * @returns {import("./header.js").Size} of the result, as the service rounds it
 */
export function sizeMade({ scale, fits, by, amount }, { height, width }) {
  const factor = !fits ? [scale, 1] : by === "scale" ? [amount, 1] : [amount, { height, width, long_side: Math.max(height, width) }[by]];
  const [times = 1, over = 1] = factor;
  const made = (/** @type {number} */ side) => Math.max(1, Math.floor((2 * side * times + over) / (2 * over)));
  return { height: made(height), width: made(width) };
}

/** @param {Settings} settings @param {string} original format of the picture, or empty @returns {Written} */
export function writtenAs(settings, original) {
  if (settings.format === "webp-exact") return "webp";
  if (settings.format !== "original") return settings.format;
  return original === "jpeg" || original === "webp" || original === "avif" ? original : "png";
}

/** @param {Settings} settings @param {string} original @returns {boolean} whether `lossy` applies */
export function isLossy(settings, original) {
  return settings.format !== "webp-exact" && writtenAs(settings, original) !== "png";
}

/** @param {Settings} settings @param {string} original @returns {string} of a request, such as "scale=4&format=webp" */
export function parametersOf(settings, original) {
  return [sizeOf(settings), ...othersOf(settings, original)].join("&");
}

/** @param {Settings} settings @param {string} original @returns {string[]} its parameters, without the size */
function othersOf(settings, original) {
  const written = writtenAs(settings, original);
  return [
    ...(settings.quality === "standard" ? [] : [`effort=${settings.quality}`]),
    ...(settings.network ? [`model=${encodeURIComponent(settings.network)}`] : []),
    ...(settings.clean === "auto" ? [] : [`clean=${settings.clean}`]),
    ...(written === "png" ? [] : [`format=${written}`]),
    ...(isLossy(settings, original) ? [`quality=${settings.lossy}`] : []),
    ...(settings.format === "webp-exact" ? ["lossless=true"] : []),
  ];
}

/**
 * @param {Settings} one @param {Settings} other @param {string} original format of the picture
 * @returns {boolean} whether they ask for the same picture, but for its size
 */
export function sameButSize(one, other, original) {
  return othersOf(one, original).join("&") === othersOf(other, original).join("&");
}

/** @param {Settings} one @param {Settings} other @returns {boolean} */
export function sameSize(one, other) {
  return sizeOf(one) === sizeOf(other);
}

/** @param {Settings} settings @returns {string} such as "×4" or "3840 px" */
export function sizeLabel({ scale, fits, by, amount }) {
  return fits ? text(`label.${by}`, { amount: String(amount) }) : `×${scale}`;
}

/** @param {Settings} settings @param {string} original @returns {string[]} such as ×4, best, WebP */
export function labelsOf(settings, original) {
  const written = writtenAs(settings, original);
  return [
    sizeLabel(settings),
    ...(settings.quality === "standard" ? [] : [text(`label.quality.${settings.quality}`)]),
    ...(settings.clean === "auto" ? [] : [text(`label.clean.${settings.clean}`)]),
    ...(settings.network ? [settings.network] : []),
    ...(written === "png" ? [] : [formatName(written) + (isLossy(settings, original) ? ` ${settings.lossy}` : "")]),
  ];
}

/** @param {Settings} settings @returns {string} the same for a file's name: x4, best */
export function suffixOf(settings) {
  const { scale, fits, by, amount } = settings;
  return [
    fits && by !== "scale" ? `${amount}${{ long_side: "px", width: "w", height: "h" }[by]}` : `x${fits ? amount : scale}`,
    ...(settings.quality === "standard" ? [] : [settings.quality]),
    ...(settings.clean === "auto" ? [] : [settings.clean === "0" ? "uncleaned" : "cleaned"]),
    ...(settings.network ? [settings.network] : []),
  ].join("-");
}
