/** Pictures out of dropped or chosen files and folders, with the folder each lay in. */

/** @typedef {import("./queue.js").Found} Found */

/** Of files whose type the system does not know. */
const SUFFIX = /\.(avif|bmp|gif|heic|heif|hif|jfif|jpe?g|jxl|png|tiff?|webp)$/i;

/** @param {File} file @returns {boolean} whether it may be a picture, by its type or its name */
function isPicture(file) {
  return file.type.startsWith("image/") || SUFFIX.test(file.name);
}

/**
 * @param {Iterable<File>} files from a file dialog
 * @returns {Found[]} of single files all, so that the service says what is wrong with them; of a folder the pictures
 */
export function chosenFiles(files) {
  return [...files]
    .map((file) => ({ file, folder: file.webkitRelativePath.slice(0, file.webkitRelativePath.lastIndexOf("/") + 1) }))
    .filter(({ file, folder }) => !folder || isPicture(file));
}

/** @param {DataTransfer} data of a drop; read at once, as it is empty after the event @returns {Promise<Found[]>} */
export async function droppedFiles(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (!entries.some((entry) => entry.isDirectory)) return [...data.files].map((file) => ({ file, folder: "" }));
  const found = await Promise.all(entries.map((entry) => walk(entry, "")));
  return found.flat();
}

/** @param {FileSystemEntry} entry @param {string} folder it lies in @returns {Promise<Found[]>} in the order of names */
async function walk(entry, folder) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) =>
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
    ).catch(() => null);
    return file && (!folder || isPicture(file)) ? [{ file, folder }] : [];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {FileSystemEntry[]} */
  const inside = [];
  for (;;) {
    // A reader gives a hundred entries at a time, and none at the end.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) break;
    inside.push(...some);
  }
  inside.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const found = [];
  for (const child of inside) found.push(...(await walk(child, `${folder}${entry.name}/`)));
  return found;
}
