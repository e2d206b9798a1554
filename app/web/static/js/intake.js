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
  const clean = part("clean", HTMLInputElement);
  const cleans = clean.checked && (clean.dataset["levels"] ?? "").split(" ").includes(String(chosenScale()));
  return [
    ...(part("ensemble", HTMLInputElement).checked ? ["ensemble=true"] : []),
    ...(cleans ? [`model=${encodeURIComponent(clean.value)}`] : []),
  ];
}

/** Shows what there are networks for. @param {import("./api.js").Network[]} models */
export function offer(models) {
  const levels = new Set(models.flatMap((model) => model.levels));
  for (const input of document.querySelectorAll("#scales input")) {
    const label = input.closest("label");
    if (input instanceof HTMLInputElement && label) label.hidden = !levels.has(Number(input.value));
  }
  const cleaner = models.find((model) => model.name.endsWith("_jpeg"));
  const clean = part("clean", HTMLInputElement);
  const label = clean.closest("label");
  if (!cleaner || !label) return;
  clean.value = cleaner.name;
  clean.dataset["levels"] = cleaner.levels.join(" ");
  label.hidden = false;
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
