/** Saving results under names that tell what they are: one by one, or all of them as one ZIP. */

import { downloadZip } from "../vendor/client-zip/index.js";
import { suffixOf } from "./settings.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./result.js").Version} Version */

const ZIP_NAME = "pictures.zip";
const LARGE_BYTES = 500e6;

/** @param {Entry} entry @param {Version} version @returns {string} such as "photo-x4.png" */
export function downloadName(entry, { result, level }) {
  const stem = entry.name.replace(/\.[^.]+$/, "") || "picture";
  const type = result.fetched.get(level)?.blob.type ?? "";
  const subtype = (type.split(";")[0] ?? "").split("/")[1] || "png";
  return `${stem}-${suffixOf(result.settingsAt(level))}.${subtype === "jpeg" ? "jpg" : subtype}`;
}

/** @param {string} url @param {string} name */
function save(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/** @param {Entry} entry whose current version is saved */
export function downloadOne(entry) {
  if (entry.current && entry.download) save(entry.download.url, downloadName(entry, entry.current));
}

/** @param {Entry[]} entries @returns {Generator<{name: string, input: Blob, lastModified: Date}>} each name once */
function* members(entries) {
  const taken = new Set();
  const lastModified = new Date();
  for (const entry of entries) {
    const { current, download } = entry;
    if (!current || !download) continue;
    const wanted = entry.folder + downloadName(entry, current);
    const dot = wanted.lastIndexOf(".");
    let name = wanted;
    // Where it is unpacked, upper and lower case may be the same.
    for (let n = 2; taken.has(name.toLowerCase()); n += 1) name = `${wanted.slice(0, dot)} (${n})${wanted.slice(dot)}`;
    taken.add(name.toLowerCase());
    yield { name, input: download.blob, lastModified };
  }
}

/** @type {string} of the last ZIP; it is given back when the next is made, as nobody tells when it has been saved */
let lastZip = "";

/**
 * One ZIP of the current versions, streamed: a large one into the file that the person chooses, where the browser can
 * write one; else into a blob, which browsers keep on the disk when it is large.
 * @param {Entry[]} entries
 */
export async function downloadAll(entries) {
  const bytes = entries.reduce((sum, entry) => sum + (entry.download?.blob.size ?? 0), 0);
  if (bytes > LARGE_BYTES && "showSaveFilePicker" in window) {
    const pick = /** @type {(options: object) => Promise<FileSystemFileHandle>} */ (window.showSaveFilePicker);
    const file = await pick({ suggestedName: ZIP_NAME }).catch(() => null);
    if (file) await downloadZip(members(entries)).body?.pipeTo(await file.createWritable());
    return;
  }
  URL.revokeObjectURL(lastZip);
  lastZip = URL.createObjectURL(await downloadZip(members(entries)).blob());
  save(lastZip, ZIP_NAME);
}
