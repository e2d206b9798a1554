/** The page, wired: what comes in goes to the queue, what the queue tells goes to the list and the stage. */

import { Api } from "./api.js";
import { part } from "./dom.js";
import { downloadAll } from "./download.js";
import { attachIntake, chosenScale, chosenWishes, offer } from "./intake.js";
import { attachKey, storedKey } from "./key.js";
import { List } from "./list.js";
import { Queue } from "./queue.js";
import { Stage } from "./stage.js";
import { accepted } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */

const api = new Api(document.baseURI);
api.key = storedKey();
const queue = new Queue(api);
const stage = new Stage(queue, remove, say);
const list = new List(show, remove);
const askForKey = attachKey((key) => {
  api.key = key;
  queue.unlock();
});

/** @type {Entry | null} */
let shown = null;

/** @param {string} words @param {boolean} [urgent] */
function say(words, urgent = false) {
  part(urgent ? "alarm" : "said", HTMLElement).textContent = words;
}

/** @param {Entry | null} entry */
function show(entry) {
  shown = entry;
  stage.open(entry);
  list.render(queue.entries, shown);
}

/** @param {Entry} entry whose button had the focus: it goes to the row that takes its place */
function remove(entry) {
  const at = queue.entries.indexOf(entry);
  queue.remove(entry);
  const next = queue.entries[at] ?? queue.entries[at - 1];
  if (next) list.focus(next);
  else part("files", HTMLElement).focus();
  say(`${entry.name} removed`);
}

/** Offer every result at once, where there are several; tell in the tab's title how far things are. */
function offerAll() {
  const done = queue.entries.filter((entry) => entry.state === "done").length;
  const busy = queue.entries.some((entry) => entry.isBusy);
  document.title = busy ? `${done} of ${queue.entries.length} done · LapSRN` : TITLE;
  const button = part("download-all", HTMLElement);
  button.hidden = done < 2;
  button.textContent = `Download all ${done}`;
}

queue.addEventListener("list", () => {
  const { entries } = queue;
  part("page", HTMLElement).dataset["empty"] = String(entries.length === 0);
  part("side-title", HTMLElement).textContent = entries.length ? "Pictures" : EMPTY_TITLE;
  part("choose-text", HTMLElement).textContent = entries.length ? "Add pictures" : "Choose pictures";
  show(shown && entries.includes(shown) ? shown : (entries.at(-1) ?? null));
  offerAll();
});

queue.addEventListener("change", (event) => {
  const entry = /** @type {CustomEvent<Entry>} */ (event).detail;
  list.update(entry, entry === shown);
  offerAll();
  stage.update(entry);
  if (entry.state === "done") say(`${entry.name} is done: ${entry.words}`);
  if (entry.state === "failed") say(`${entry.name}: ${entry.problem?.title}. ${entry.problem?.detail}`, true);
});

queue.addEventListener("locked", (event) => {
  askForKey(/** @type {CustomEvent<import("./api.js").Problem>} */ (event).detail.detail);
});

window.addEventListener("pagehide", (event) => {
  if (!event.persisted) queue.abandon();
});

part("download-all", HTMLElement).onclick = () => downloadAll(queue.entries);

attachIntake((files) => {
  const added = queue.add(files, chosenScale(), chosenWishes());
  say(added.length === 1 ? `${added[0]?.name} added` : `${added.length} pictures added`);
  show(added[0] ?? shown);
});

const TITLE = document.title;
const EMPTY_TITLE = part("side-title", HTMLElement).textContent ?? "";

api.model().then(
  ({ name, device, limits, models }) => {
    offer(models);
    queue.maxBytes = limits.max_input_bytes;
    part("model-note", HTMLElement).textContent = `${name} on ${device}`;
    part("limits", HTMLElement).textContent = accepted(limits);
  },
  () => {},
);
