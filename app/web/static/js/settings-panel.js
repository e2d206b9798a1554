/** The controls of the settings: what is chosen is remembered, and may be given in the page's address. */

import { make, part } from "./dom.js";
import { BYS, CLEANS, FORMATS, QUALITIES, SIZES, isAmount, sane, sizeIn } from "./settings.js";
import { text } from "./texts.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./api.js").Network} Network */

const PLACE = "lapsrn-settings";
/** The value of the choice of a size, beside the scales. */
const FIT = "fit";

/** @returns {Settings} those of the last visit, and on top those of the address, such as ?width=1920&format=webp */
function remembered() {
  /** @type {Record<string, unknown>} */
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(PLACE) ?? "{}") ?? {};
  } catch {
    // Storage is switched off, or holds something else.
  }
  const address = new URLSearchParams(location.search);
  return { ...sane({ ...stored, ...Object.fromEntries(address) }), ...sizeIn(address) };
}

export class SettingsPanel {
  #root = part("settings", HTMLElement);
  #amount = part("amount", HTMLInputElement);
  #by = part("by", HTMLSelectElement);
  #quality = part("quality", HTMLSelectElement);
  #clean = part("clean", HTMLSelectElement);
  #format = part("format", HTMLSelectElement);
  #lossy = part("lossy", HTMLInputElement);
  #lossyValue = part("lossy-value", HTMLOutputElement);
  #networks = part("networks", HTMLElement);
  #onChange;
  /** @type {Network[]} */
  #models = [];
  #settings = remembered();

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#root.addEventListener("input", () => this.#read());
    this.#amount.addEventListener("change", () => this.show());
    this.show();
  }

  /** @returns {Settings} as they are chosen, without what does not go together */
  get chosen() {
    const { network, clean, ...others } = this.#settings;
    const suits = this.#models.some((model) => model.name === network && this.#has(model));
    return { ...others, network: suits ? network : "", clean: this.#cleans ? clean : "auto" };
  }

  /** @param {Partial<Settings>} changes */
  choose(changes) {
    this.#settings = { ...this.#settings, ...changes };
    this.show();
    this.#store();
    this.#onChange();
  }

  /** Shows what there are networks for. @param {Network[]} models */
  offer(models) {
    this.#models = models;
    const scales = this.#scales();
    if (!scales.includes(this.#settings.scale)) {
      this.#settings = { ...this.#settings, scale: scales.filter((scale) => scale <= 4).at(-1) ?? scales[0] ?? 4 };
    }
    this.#networks.replaceChildren(...models.filter(isChoice).map((model) => this.#box(model)));
    this.show();
    this.#onChange();
  }

  /** Brings the controls, and their words, to what is chosen. */
  show() {
    const { scale, fits, by, amount, quality, clean, network, format, lossy } = this.#settings;
    const scales = this.#scales();
    for (const input of this.#inputs("scale")) {
      input.checked = input.value === (fits ? FIT : String(scale));
      const label = input.closest("label");
      if (label) label.hidden = input.value !== FIT && !scales.includes(Number(input.value));
    }
    part("size-row", HTMLElement).hidden = !fits;
    fill(this.#by, "by", BYS, by);
    const { least, most } = SIZES[by];
    Object.assign(this.#amount, { min: String(least), max: String(most), step: by === "scale" ? "any" : "1" });
    // What is being typed is not yet what is meant.
    if (Number(this.#amount.value) !== amount && document.activeElement !== this.#amount) this.#amount.value = String(amount);
    fill(this.#quality, "quality", QUALITIES, quality);
    fill(this.#format, "format", FORMATS, format);
    fill(this.#clean, "clean", CLEANS, clean);
    part("clean-row", HTMLElement).hidden = !this.#models.some((model) => model.clean);
    this.#clean.disabled = !this.#cleans;
    part("clean-reason", HTMLElement).textContent = this.#cleans ? "" : text("settings.not-at", { scale });
    const isExact = format === "png" || format === "webp-exact";
    part("lossy-row", HTMLElement).hidden = isExact;
    this.#lossy.value = String(lossy);
    this.#lossyValue.value = String(lossy);
    for (const input of this.#inputs("network")) {
      const model = this.#models.find(({ name }) => name === input.value);
      input.checked = input.value === network;
      input.disabled = !model || !this.#has(model);
      const label = input.closest("label");
      const reason = label?.querySelector(".reason");
      if (label) label.dataset["off"] = String(input.disabled);
      if (reason) reason.textContent = input.disabled ? text("settings.not-at", { scale }) : "";
      const words = label?.querySelector(".words");
      if (words && model) words.textContent = purposeOf(model);
    }
  }

  /** Whether the network that is chosen cleans up: the first that has the scale, if none is chosen by its name. */
  get #cleans() {
    const { network, fits } = this.#settings;
    const having = this.#models.filter((model) => this.#has(model));
    if (fits && !network) return having.some((model) => model.clean);
    return (having.find((model) => model.name === network) ?? having[0])?.clean ?? false;
  }

  /** @param {Network} model @returns {boolean} whether it has the scale; where a size is wished for, the picture decides */
  #has(model) {
    return this.#settings.fits || model.levels.includes(this.#settings.scale);
  }

  /** @returns {number[]} on offer; before the service has told, those that every one has */
  #scales() {
    return this.#models.length ? [...new Set(this.#models.flatMap((model) => model.levels))].sort() : [2, 4];
  }

  /** @param {string} name @returns {HTMLInputElement[]} */
  #inputs(name) {
    return [...this.#root.querySelectorAll("input")].filter((input) => input.name === name);
  }

  #read() {
    const chosen = (/** @type {string} */ name) => this.#inputs(name).filter((input) => input.checked);
    const { network, scale } = this.#settings;
    const size = chosen("scale")[0]?.value ?? String(scale);
    this.choose({
      scale: size === FIT ? scale : Number(size),
      fits: size === FIT,
      ...this.#readSize(),
      quality: QUALITIES.find((name) => name === this.#quality.value) ?? "standard",
      network: (chosen("network").find(({ value }) => value !== network) ?? chosen("network")[0])?.value ?? "",
      clean: CLEANS.find((strength) => strength === this.#clean.value) ?? "auto",
      format: FORMATS.find((name) => name === this.#format.value) ?? "png",
      lossy: Number(this.#lossy.value),
    });
  }

  /** @returns {Pick<Settings, "by" | "amount">} what cannot be is not taken; another unit begins with its own amount */
  #readSize() {
    const was = this.#settings;
    const by = BYS.find((name) => name === this.#by.value) ?? was.by;
    const typed = this.#amount.valueAsNumber;
    if (by !== was.by) return { by, amount: isAmount(by, typed) && by !== "scale" && was.by !== "scale" ? typed : SIZES[by].first };
    return { by, amount: isAmount(by, typed) ? typed : was.amount };
  }

  #store() {
    try {
      localStorage.setItem(PLACE, JSON.stringify(this.#settings));
    } catch {
      // Storage is switched off: they are forgotten with the page.
    }
  }

  /** @param {Network} model @returns {HTMLLabelElement} a box to tick for it, at most one of all */
  #box(model) {
    const input = make("input", "");
    input.type = "checkbox";
    input.name = "network";
    input.value = model.name;
    return make("label", "tick", input, make("span", "words"), make("span", "reason"));
  }
}

/** @param {Network} model @returns {string} what it does besides enlarging */
function purposeOf(model) {
  return model.purpose === "Clean up JPEG traces" ? text("purpose.jpeg") : model.purpose;
}

/** @param {Network} model @returns {boolean} whether it is offered by what it is for */
function isChoice(model) {
  return model.purpose !== "" && !model.full_strength_of;
}

/** @param {HTMLSelectElement} select @param {string} group of texts @param {readonly string[]} values @param {string} chosen */
function fill(select, group, values, chosen) {
  const options = values.map((value) => new Option(text(`${group}.${value}`), value, value === chosen, value === chosen));
  select.replaceChildren(...options);
}
