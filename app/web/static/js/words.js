/** Numbers as people read them, in the language of the page. */

import { language, text } from "./texts.js";

/** @typedef {import("./header.js").Size} Size */

/** @param {number} value @param {Intl.NumberFormatOptions} options @returns {string} */
function number(value, options) {
  return new Intl.NumberFormat(language, options).format(value);
}

/** @param {number} bytes @returns {string} such as "402 kB" (decimal, as downloads are counted) */
export function byteSize(bytes) {
  const [value, unit] = bytes < 1000 ? [bytes, "byte"] : bytes < 1e6 ? [bytes / 1e3, "kilobyte"] : [bytes / 1e6, "megabyte"];
  const digits = unit === "megabyte" && value < 100 ? 1 : 0;
  const unitDisplay = unit === "byte" ? "long" : "short";
  return number(value, { style: "unit", unit, unitDisplay, maximumFractionDigits: digits, minimumFractionDigits: digits });
}

/** @param {Size} size @returns {string} width first, as people say it */
export function dimensions(size) {
  return `${size.width} × ${size.height}`;
}

/** @param {number} pixels @returns {string} such as "4.2" */
export function megapixels(pixels) {
  return number(pixels / 1e6, { maximumFractionDigits: pixels < 1e7 ? 1 : 0 });
}

/** @param {number} share 0..1 @returns {string} such as "42%" */
export function percent(share) {
  return text("percent", { value: number(share * 100, { maximumFractionDigits: share < 0.1 ? 1 : 0 }) });
}

/** @param {number} seconds @returns {string} such as "3.4 s" or "2 min 5 s" */
export function duration(seconds) {
  if (seconds < 9.95) {
    return text("seconds", { value: number(seconds, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) });
  }
  const whole = Math.round(seconds);
  if (whole < 60) return text("seconds", { value: whole });
  return `${text("minutes", { value: Math.floor(whole / 60) })} ${text("seconds", { value: whole % 60 })}`;
}

/** @param {number} seconds at least 1 @returns {string} such as "8 s" or "3 min": a guess should not look exact */
export function roughly(seconds) {
  return seconds < 90
    ? text("seconds", { value: Math.round(seconds) })
    : text("minutes", { value: Math.round(seconds / 60) });
}

/** @param {string[]} items @returns {string} such as "PNG, JPEG or WebP" */
export function anyOf(items) {
  return new Intl.ListFormat(language === "en" ? "en-GB" : language, { type: "disjunction" }).format(items);
}
