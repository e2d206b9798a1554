/** What a picture is to become: the values that a person chooses, and what they mean for a request. */

import { text } from "./texts.js";

/**
 * @typedef {"png" | "original" | "webp" | "webp-exact" | "jpeg" | "avif"} Format
 *   original: as the picture came, where that can be written, else PNG; webp-exact: without loss
 * @typedef {"auto" | "0" | "0.25" | "0.5" | "1"} Clean strength of the clean-up; auto: by the picture
 * @typedef {Readonly<{scale: number, best: boolean, clean: Clean, network: string, format: Format, lossy: number}>} Settings
 *   best: eight times slower; network: by name, for its purpose, or empty; lossy: quality 1..100 of lossy formats
 * @typedef {"png" | "webp" | "jpeg" | "avif"} Written
 */

/** @type {readonly Format[]} */
export const FORMATS = ["png", "original", "webp", "webp-exact", "jpeg", "avif"];
export const SCALES = [2, 4, 8];
/** @type {readonly Clean[]} */
export const CLEANS = ["auto", "0", "0.25", "0.5", "1"];
/** @type {Settings} */
export const DEFAULTS = Object.freeze({ scale: 4, best: false, clean: "auto", network: "", format: "png", lossy: 90 });

/** How formats are called. @type {Record<string, string>} */
const NAMES = { webp: "WebP", jxl: "JPEG XL" };

/** @param {string} format in lower case @returns {string} */
export function formatName(format) {
  return NAMES[format] ?? format.toUpperCase();
}

/** @param {Record<string, unknown>} values from storage or an address @returns {Settings} what is valid of them */
export function sane(values) {
  const scale = Number(values["scale"]);
  const lossy = Math.round(Number(values["lossy"]));
  const format = FORMATS.find((name) => name === values["format"]);
  return {
    scale: SCALES.includes(scale) ? scale : DEFAULTS.scale,
    best: values["best"] === true || values["best"] === "true",
    clean: CLEANS.find((strength) => strength === values["clean"]) ?? DEFAULTS.clean,
    network: typeof values["network"] === "string" ? values["network"] : "",
    format: format ?? DEFAULTS.format,
    lossy: lossy >= 1 && lossy <= 100 ? lossy : DEFAULTS.lossy,
  };
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
  const written = writtenAs(settings, original);
  return [
    `scale=${settings.scale}`,
    ...(settings.best ? ["ensemble=true"] : []),
    ...(settings.clean === "auto" ? [] : [`clean=${settings.clean}`]),
    ...(settings.network ? [`model=${encodeURIComponent(settings.network)}`] : []),
    ...(written === "png" ? [] : [`format=${written}`]),
    ...(isLossy(settings, original) ? [`quality=${settings.lossy}`] : []),
    ...(settings.format === "webp-exact" ? ["lossless=true"] : []),
  ].join("&");
}

/**
 * @param {Settings} one @param {Settings} other @param {string} original format of the picture
 * @returns {boolean} whether they ask for the same picture, but for its size
 */
export function sameButScale(one, other, original) {
  return parametersOf({ ...one, scale: 0 }, original) === parametersOf({ ...other, scale: 0 }, original);
}

/** @param {Settings} settings @param {number} level @param {string} original @returns {string[]} such as ×4, best, WebP */
export function labelsOf(settings, level, original) {
  const written = writtenAs(settings, original);
  return [
    `×${level}`,
    ...(settings.best ? [text("label.best")] : []),
    ...(settings.clean === "auto" ? [] : [text(`label.clean.${settings.clean}`)]),
    ...(settings.network ? [settings.network] : []),
    ...(written === "png" ? [] : [formatName(written) + (isLossy(settings, original) ? ` ${settings.lossy}` : "")]),
  ];
}

/** @param {Settings} settings @param {number} level @returns {string} the same for a file's name: x4, best */
export function suffixOf(settings, level) {
  return [
    `x${level}`,
    ...(settings.best ? ["best"] : []),
    ...(settings.clean === "auto" ? [] : [settings.clean === "0" ? "uncleaned" : "cleaned"]),
    ...(settings.network ? [settings.network] : []),
  ].join("-");
}
