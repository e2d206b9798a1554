/** The page, wired: what comes in goes to the queue, what the queue tells goes to the list and the stage. */

import { Api } from "./api.js";
import { Attention } from "./attention.js";
import { Connection } from "./connection.js";
import { part } from "./dom.js";
import { downloadAll, downloadOne } from "./download.js";
import { attachFocus } from "./focus.js";
import { Greeting } from "./greeting.js";
import { attachIntake } from "./intake.js";
import { attachKey, storedKey } from "./key.js";
import { attachLanguage } from "./language.js";
import { List } from "./list.js";
import { Notice } from "./notice.js";
import { Overview } from "./overview.js";
import { Queue } from "./queue.js";
import { SettingsPanel } from "./settings-panel.js";
import { Stage } from "./stage.js";
import { troubleOf } from "./status.js";
import { text } from "./texts.js";
import { Toast } from "./toast.js";
import { dimensions } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */

attachLanguage(() => {
  panel.show();
  greeting.show();
  stage.speak();
  refresh();
});
const api = new Api(document.baseURI);
api.key = storedKey();
const connection = new Connection(api);
const queue = new Queue(api, connection);
const toast = new Toast(say);
const banner = new Notice("banner", say);
const attention = new Attention();
const panel = new SettingsPanel(() => {
  stage.follow();
  overview.show();
});
const stage = new Stage(queue, { say, tell, remove: (entry) => remove([entry]), chosen: () => panel.chosen });
const list = new List({ open: openRow, save: downloadOne, next: sendNext, remove: (entry) => remove([entry]) });
const overview = new Overview(queue, {
  downloadAll: () => void downloadAll(queue.entries).catch(() => tell(text("said.not-saved"))),
  clear: remove,
  retry: (failed) => failed.forEach((entry) => queue.again(entry)),
  again: (entries) => entries.forEach((entry) => queue.again(entry, panel.chosen)),
  chosen: () => panel.chosen,
});
const greeting = new Greeting(api, connection, (model) => {
  queue.model = model;
  panel.offer(model.models);
});
const askForKey = attachKey((key) => {
  api.key = key;
  queue.unlock();
  showBanner();
});

/** @type {Entry | null} */
let shown = null;

/** @param {string} words for a screen reader @param {boolean} [urgent] */
function say(words, urgent = false) {
  part(urgent ? "alarm" : "said", HTMLElement).textContent = words;
}

/** @param {string} words for everybody */
function tell(words) {
  toast.show(words);
}

/** @param {Entry | null} entry */
function show(entry) {
  shown = entry;
  stage.open(entry);
  list.render(queue.entries, shown);
}

/** @param {Entry} entry whose row was chosen: where the picture is above the list, it is brought into view */
function openRow(entry) {
  show(entry);
  const { top } = part("stage", HTMLElement).getBoundingClientRect();
  if (top < 0) part("stage", HTMLElement).scrollIntoView();
}

/** @param {Entry} entry whose row moves up, with the focus */
function sendNext(entry) {
  queue.next(entry);
  list.focus(entry);
}

/** @param {Entry[]} entries to be taken off the list; that of a focused button hands the focus to its neighbour */
function remove(entries) {
  const at = queue.entries.findIndex((entry) => entries.includes(entry));
  const words =
    entries.length === 1
      ? text(entries[0]?.isBusy ? "said.cancelled" : "said.removed", { name: entries[0]?.name ?? "" })
      : text("said.cleared", { count: entries.length });
  toast.show(words, queue.remove(entries));
  const next = queue.entries[at] ?? queue.entries[at - 1];
  if (next) list.focus(next);
  else part("files", HTMLElement).focus();
}

/** What keeps all pictures waiting. */
function showBanner() {
  if (connection.down) {
    const quiet = connection.seconds ? text("banner.when", { seconds: connection.seconds }) : text("banner.trying");
    banner.show({ words: text("banner.offline"), quiet, label: text("do.now"), act: () => connection.tryNow() });
  } else if (queue.locked) {
    banner.show({ words: text("banner.locked"), label: text("do.key"), act: () => askForKey(false) });
  } else if (greeting.isStarting) {
    banner.show({ words: text("banner.starting") });
  } else banner.show(null);
}

/** All of the page that depends on the pictures. */
function refresh() {
  const { entries } = queue;
  part("page", HTMLElement).dataset["empty"] = String(entries.length === 0);
  show(shown && entries.includes(shown) ? shown : (entries.at(-1) ?? null));
  if (shown) stage.update(shown);
  overview.show();
  attention.update(entries);
  showBanner();
}

queue.addEventListener("list", refresh);
connection.addEventListener("change", showBanner);
greeting.addEventListener("change", showBanner);

queue.addEventListener("change", (event) => {
  const entry = /** @type {CustomEvent<Entry>} */ (event).detail;
  if (!queue.entries.includes(entry)) return;
  list.update(entry, queue.entries);
  overview.show();
  attention.update(queue.entries);
  stage.update(entry);
});

queue.addEventListener("done", (event) => {
  const entry = /** @type {CustomEvent<Entry>} */ (event).detail;
  if (entry.state === "failed") {
    const { title, detail } = troubleOf(entry, queue.model);
    say(`${entry.name}: ${title}. ${detail}`, true);
  } else if (entry.download) say(text("said.done", { name: entry.name, size: dimensions(entry.download) }));
});

queue.addEventListener("locked", () => {
  askForKey(api.key !== "");
  showBanner();
});

window.addEventListener("pagehide", (event) => {
  if (event.persisted) return;
  toast.close();
  queue.abandon();
});

attachFocus();
attachIntake(
  (found) => {
    if (!found.length) return tell(text("said.no-pictures"));
    const added = queue.add(found, panel.chosen);
    say(text("said.added", { count: added.length, name: added[0]?.name ?? "" }));
    show(added[0] ?? shown);
    if (queue.locked) askForKey(false);
  },
  () => tell(text("said.link")),
);

refresh();
part("stopped", HTMLElement).remove();
