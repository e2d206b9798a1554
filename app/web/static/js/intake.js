/** The ways in: choosing, dropping, pasting. */

import { part } from "./dom.js";

/** @param {(files: File[]) => void} onFiles */
export function attachIntake(onFiles) {
  const input = part("files", HTMLInputElement);
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    input.value = "";
    if (files.length) onFiles(files);
  });
  attachDrop(onFiles);
  attachPaste(onFiles);
}

/** @returns {number} the factor chosen */
export function chosenScale() {
  const checked = document.querySelector("#scales input:checked");
  return checked instanceof HTMLInputElement ? Number(checked.value) : 4;
}

/** @returns {string[]} further parameters of the request, such as "ensemble=true" */
export function chosenWishes() {
  const special = document.querySelector("#intake input[name=model]:checked");
  const suits =
    special instanceof HTMLInputElement && (special.dataset["levels"] ?? "").split(" ").includes(String(chosenScale()));
  return [
    ...(part("ensemble", HTMLInputElement).checked ? ["ensemble=true"] : []),
    ...(suits ? [`model=${encodeURIComponent(special.value)}`] : []),
  ];
}

/** Shows what there are networks for. @param {import("./api.js").Network[]} models */
export function offer(models) {
  const levels = new Set(models.flatMap((model) => model.levels));
  for (const input of document.querySelectorAll("#scales input")) {
    const label = input.closest("label");
    if (input instanceof HTMLInputElement && label) label.hidden = !levels.has(Number(input.value));
  }
  const choices = models.filter((model) => model.purpose).map(choice);
  part("ensemble", HTMLInputElement).closest("label")?.after(...choices);
}

/** @param {import("./api.js").Network} model @returns {HTMLLabelElement} a box to tick for it, at most one of all */
function choice(model) {
  const label = document.createElement("label");
  label.className = "best";
  const input = document.createElement("input");
  input.type = "checkbox";
  input.name = "model";
  input.value = model.name;
  input.dataset["levels"] = model.levels.join(" ");
  input.addEventListener("change", () => {
    for (const other of document.querySelectorAll("#intake input[name=model]")) {
      if (other instanceof HTMLInputElement && other !== input) other.checked = false;
    }
  });
  label.append(input, model.purpose);
  return label;
}

/** @param {(files: File[]) => void} onFiles */
function attachDrop(onFiles) {
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
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    sheet.hidden = true;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) onFiles(files);
  });
}

/** @param {(files: File[]) => void} onFiles */
function attachPaste(onFiles) {
  let pasted = 0;
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    // A copied picture has no name of its own: browsers call every one of them image.png.
    onFiles(
      files.map((file) =>
        file.name === "image.png" ? new File([file], `pasted-${++pasted}.png`, { type: file.type }) : file,
      ),
    );
  });
}
