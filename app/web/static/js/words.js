/** Numbers as people read them. */

/** @param {number} bytes @returns {string} such as "402 kB" (decimal, as downloads are counted) */
export function byteSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}

/** @param {{height: number, width: number}} size in pixels @returns {string} width first, as people say it */
export function dimensions(size) {
  return `${size.width} × ${size.height}`;
}

/** @param {number} seconds @returns {string} such as "3.4 s" or "2 min 05 s" */
export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** @param {number} seconds at least 1 @returns {string} such as "8 s" or "3 min": a guess should not look exact */
export function roughly(seconds) {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** @param {import("./api.js").Limits} limits @returns {string} what may be sent */
export function accepted(limits) {
  const formats = limits.formats.map((name) => (name === "WEBP" ? "WebP" : name));
  const listed = formats.length > 1 ? `${formats.slice(0, -1).join(", ")} or ${formats.at(-1)}` : formats.join("");
  const pixels = (limits.max_input_pixels / 1e6).toFixed(1).replace(".0", "");
  return `${listed}, up to ${byteSize(limits.max_input_bytes)} and ${pixels} megapixels each.`;
}
