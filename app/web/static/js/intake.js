/** The ways in: choosing files or a folder, dropping, pasting. */

import { part } from "./dom.js";
import { chosenFiles, droppedFiles } from "./folder.js";

/** @typedef {import("./queue.js").Found} Found */

/** @param {(found: Found[]) => void} onFound */
export function attachIntake(onFound) {
  for (const id of ["files", "folder"]) {
    const input = part(id, HTMLInputElement);
    input.addEventListener("change", () => {
      const found = chosenFiles(input.files ?? []);
      input.value = "";
      onFound(found);
    });
  }
  part("choose-folder", HTMLElement).hidden = !("webkitdirectory" in HTMLInputElement.prototype);
  attachDrop(onFound);
  attachPaste(onFound);
}

/** @param {(found: Found[]) => void} onFound */
function attachDrop(onFound) {
  const sheet = part("drop", HTMLElement);
  let depth = 0;
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    sheet.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    sheet.hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    sheet.hidden = true;
    void droppedFiles(event.dataTransfer).then(onFound);
  });
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
