/** The ways in: choosing files or a folder, dropping, pasting. */

import { part } from "./dom.js";
import { chosenFiles, droppedFiles } from "./folder.js";

/** @typedef {import("./queue.js").Found} Found */

/**
 * While files are dragged over the page, it hears of them several times a second; when they leave, it hears of that last,
 * unless the element that they were over has been replaced.
 */
const OVER_MS = 1500;
const LEFT_MS = 400;

/**
 * @param {(found: Found[]) => void} onFound
 * @param {() => void} onLink called when a link was dropped, such as a picture of another page in Firefox
 */
export function attachIntake(onFound, onLink) {
  for (const id of ["files", "folder"]) {
    const input = part(id, HTMLInputElement);
    input.addEventListener("change", () => {
      const found = chosenFiles(input.files ?? []);
      input.value = "";
      onFound(found);
    });
  }
  part("choose-folder", HTMLElement).hidden = !("webkitdirectory" in HTMLInputElement.prototype);
  attachDrop(onFound, onLink);
  attachPaste(onFound);
}

/** @param {(found: Found[]) => void} onFound @param {() => void} onLink called when a link was dropped */
function attachDrop(onFound, onLink) {
  const sheet = part("drop", HTMLElement);
  let timer = 0;
  const carries = (/** @type {DragEvent} */ event, /** @type {string} */ type) => event.dataTransfer?.types.includes(type) ?? false;
  const hideIn = (/** @type {number} */ ms) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => (sheet.hidden = true), ms);
  };
  for (const name of /** @type {const} */ (["dragenter", "dragover"])) {
    document.addEventListener(name, (event) => {
      // Otherwise the browser opens what is dropped, even the text of an address, in the place of this page.
      if (carries(event, "Files") || !isField(event.target)) event.preventDefault();
      if (!carries(event, "Files")) return;
      sheet.hidden = false;
      hideIn(OVER_MS);
    });
  }
  document.addEventListener("dragleave", () => hideIn(LEFT_MS));
  document.addEventListener("drop", (event) => {
    sheet.hidden = true;
    if (!event.dataTransfer || (isField(event.target) && !carries(event, "Files"))) return;
    event.preventDefault();
    if (carries(event, "Files")) void droppedFiles(event.dataTransfer).then(onFound);
    else if (carries(event, "text/uri-list")) onLink();
  });
}

/** @param {EventTarget | null} target @returns {boolean} whether it takes text that is dropped on it */
function isField(target) {
  return target instanceof HTMLInputElement && target.type !== "file";
}

/** @param {(found: Found[]) => void} onFound */
function attachPaste(onFound) {
  let pasted = 0;
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    // A copied picture has no name of its own: browsers call every one of them image.png.
    const named = files.map((file) =>
      file.name === "image.png" ? new File([file], `pasted-${++pasted}.png`, { type: file.type }) : file,
    );
    onFound(named.map((file) => ({ file, folder: "" })));
  });
}
