/** How far a picture is, and what went wrong with it, in words for people; and what can be done about it. */

import { levelOf, levelsFor, possibleScales } from "./limits.js";
import { formatName } from "./settings.js";
import { text } from "./texts.js";
import { anyOf, byteSize, dimensions, megapixels, percent, roughly } from "./words.js";

/** @typedef {import("./entry.js").Entry} Entry */
/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./texts.js").Key} Key */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {{label: string, settings?: Partial<Settings>, remedy?: string}} Remedy what to make the picture again with */
/** @typedef {{title: string, detail: string, remedies: Remedy[], mayRetry: boolean}} Trouble */

/** The words for each kind of error: the kinds of app/errors.py, and the page's own. @type {Record<string, string>} */
const GROUPS = {
  "too-many-bytes": "bytes",
  "too-many-pixels": "pixels",
  "out-of-reach": "reach",
  "unsupported-format": "format",
  "undecodable-picture": "damaged",
  "bad-parameter": "settings",
  "not-acceptable": "settings",
  "malformed-request": "failed",
  "too-many-requests": "busy",
  "queue-full": "busy",
  draining: "busy",
  "warming-up": "busy",
  "decoders-unavailable": "busy",
  "store-unavailable": "busy",
  "job-lost": "interrupted",
  cancelled: "interrupted",
  "not-found": "interrupted",
  "not-ready": "interrupted",
  "deadline-exceeded": "slow",
  "slow-client": "slow",
  unauthorized: "key",
  forbidden: "key",
  "inference-failed": "failed",
  "internal-error": "failed",
  "weights-refused": "failed",
  "settings-refused": "failed",
  "headers-too-large": "failed",
  "cross-site": "failed",
  "unknown-host": "failed",
  "precondition-failed": "failed",
  "unsupported-coding": "failed",
  "range-not-satisfiable": "failed",
  unreachable: "unreachable",
  unreadable: "unreadable",
  empty: "empty",
  page: "page",
};
/** Groups for which the same file, asked for in the same way, fails again. */
const HOPELESS = new Set(["bytes", "pixels", "reach", "format", "damaged", "empty", "settings", "animation"]);
/** Groups for which the file fails whatever is asked for. */
const ABOUT_THE_FILE = new Set(["bytes", "format", "damaged", "empty", "unreadable"]);
/** Formats that decode whole or not at all. */
const ALL_OR_NOTHING = new Set(["avif", "heic"]);
const FILMS = new Set(["png", "webp"]);

/** @param {string} type see Problem @returns {string} which words it has; empty for a kind unknown here */
export function groupOf(type) {
  return GROUPS[type] ?? "";
}

/** @param {Entry} entry @returns {string} how far it is, in a few words */
export function progressOf(entry) {
  switch (entry.state) {
    case "waiting":
      return text("state.waiting");
    case "held":
      return entry.heldFor ? text("state.busy", { seconds: entry.heldFor }) : text("state.offline");
    case "uploading":
      return entry.uploaded >= 1 ? text("state.reading") : text("state.uploading", { percent: percent(entry.uploaded) });
    case "queued":
      return text("state.queued");
    case "running": {
      if (!entry.tiles) return text("state.running");
      const left = entry.job?.seconds_left;
      const done = percent(entry.tiles.done / entry.tiles.total);
      return typeof left === "number" && left >= 1 ? text("state.left", { percent: done, time: roughly(left) }) : done;
    }
    case "fetching":
      return entry.fetched === null ? text("state.fetching") : text("state.fetched", { percent: percent(entry.fetched) });
    case "failed":
      return titleOf(entry);
    case "done":
      return text("state.done");
  }
}

/** @param {Entry} entry that failed @returns {string} why, as a heading */
function titleOf(entry) {
  const group = entryGroup(entry);
  return group ? text(/** @type {Key} */ (`trouble.${group}`)) : entry.problem?.title || text("trouble.failed");
}

/** @param {Entry} entry @returns {string} as groupOf, with what is known of the picture */
function entryGroup(entry) {
  const { type = "", detail = "" } = entry.problem ?? {};
  if (detail.includes("frames=first")) return "animation";
  return groupOf(type);
}

/** @param {Entry} entry that failed @returns {boolean} whether it may succeed with other settings */
export function dependsOnSettings(entry) {
  return !ABOUT_THE_FILE.has(entryGroup(entry));
}

/** @param {Entry} entry that failed @param {Model | null} model @returns {Trouble} */
export function troubleOf(entry, model) {
  const group = entryGroup(entry);
  return {
    title: titleOf(entry),
    detail: detailOf(entry, group, model),
    remedies: remediesOf(entry, group, model),
    mayRetry: !HOPELESS.has(group),
  };
}

/** @param {Entry} entry @param {string} group @param {Model | null} model @returns {string} */
function detailOf(entry, group, model) {
  const limits = model?.limits;
  const { detail = "", id = "" } = entry.problem ?? {};
  const formats = anyOf((limits?.formats ?? []).map((name) => formatName(name.toLowerCase())));
  switch (group) {
    case "":
      return detail || text("trouble.failed.detail", { id });
    case "bytes":
      return text("trouble.bytes.detail", { size: byteSize(entry.file.size), limit: byteSize(limits?.max_input_bytes ?? 0) });
    case "pixels":
      return pixelsDetail(entry, model);
    case "reach":
      return reachDetail(entry, model);
    case "format":
      return text(entry.format === "heic" ? "trouble.heic.detail" : "trouble.format.detail", { formats });
    case "damaged":
      return damagedDetail(entry);
    case "settings":
      return text("trouble.settings.detail", { format: formatName(entry.target) });
    case "failed":
      return id ? text("trouble.failed.detail", { id }) : text("trouble.interrupted.detail");
    default:
      return text(/** @type {Key} */ (`trouble.${group}.detail`));
  }
}

/** @param {Entry} entry @param {Model | null} model @returns {string} */
function pixelsDetail(entry, model) {
  const level = model && levelOf(model, entry);
  if (!entry.size || !level) return text("trouble.pixels.unknown");
  const { limits } = model;
  const pixels = entry.size.height * entry.size.width;
  if (pixels > limits.max_input_pixels) {
    return text("trouble.pixels.in", { size: megapixels(pixels), limit: megapixels(limits.max_input_pixels) });
  }
  const made = { scale: level, size: megapixels(pixels * level ** 2), limit: megapixels(limits.max_output_pixels) };
  return text(entry.settings.fits ? "trouble.pixels.way" : "trouble.pixels.out", made);
}

/** @param {Entry} entry @param {Model | null} model @returns {string} */
function reachDetail(entry, model) {
  const most = model && levelsFor(model, entry.settings).at(-1);
  if (!entry.size || !most) return text("trouble.reach.unknown");
  return text("trouble.reach.detail", {
    scale: most,
    size: dimensions({ height: entry.size.height * most, width: entry.size.width * most }),
  });
}

/** @param {Entry} entry @returns {string} */
function damagedDetail(entry) {
  if (entry.remedy.includes("truncated=allow")) return text("trouble.damaged.nothing");
  const name = formatName(entry.format);
  return ALL_OR_NOTHING.has(entry.format)
    ? text("trouble.damaged.whole", { format: name })
    : text("trouble.damaged.detail");
}

/** @param {Entry} entry too large, or out of reach @param {Model | null} model @returns {number[]} that it can have instead */
function smallerScales(entry, model) {
  if (!model) return [];
  const level = levelOf(model, entry) ?? Infinity;
  const levels = levelsFor(model, entry.settings);
  return possibleScales(model.limits, entry).filter((scale) => scale < level && levels.includes(scale));
}

/** @param {Entry} entry @param {string} group @param {Model | null} model @returns {Remedy[]} */
function remediesOf(entry, group, model) {
  switch (group) {
    case "pixels":
    case "reach":
      return smallerScales(entry, model)
        .reverse()
        .map((scale) => ({ label: text("do.scale", { scale }), settings: { scale, fits: false } }));
    case "animation": {
      const first = { label: text("do.first"), remedy: "frames=first" };
      if (entry.remedy.includes("frames=first")) return [];
      const isWhole = FILMS.has(entry.target) && entry.problem?.detail.includes("frames=all");
      return isWhole ? [first, { label: text("do.frames"), remedy: "frames=all" }] : [first];
    }
    case "damaged":
      if (ALL_OR_NOTHING.has(entry.format) || entry.remedy.includes("truncated=allow")) return [];
      return [{ label: text("do.partial"), remedy: "truncated=allow" }];
    case "settings":
      return entry.target === "png" ? [] : [{ label: text("do.png"), settings: { format: "png" } }];
    default:
      return [];
  }
}
