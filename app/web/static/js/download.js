/** Saving results under names that tell what they are. */

/** @typedef {import("./entry.js").Entry} Entry */

/** @param {string} name of the file chosen @param {number} level @param {string} mediaType of the result @returns {string} */
export function downloadName(name, level, mediaType) {
  const stem = name.replace(/\.[^.]+$/, "") || "picture";
  const subtype = (mediaType.split(";")[0] ?? "").split("/")[1] || "png";
  return `${stem}-x${level}.${subtype === "jpeg" ? "jpg" : subtype}`;
}

/** @param {Entry[]} entries of which those that are done are saved, each at the level asked for */
export function downloadAll(entries) {
  for (const entry of entries) {
    const level = entry.state === "done" ? entry.levels.get(entry.scale) : undefined;
    if (!level) continue;
    const link = document.createElement("a");
    link.href = level.url;
    link.download = downloadName(entry.name, entry.scale, level.blob.type);
    link.click();
  }
}
