/** Mouse, touch and keys on the picture, turned into what Compare understands. */

/** @typedef {import("./compare.js").Compare} Compare */
/** @typedef {{x: number, y: number}} Point CSS pixels from the view's top left */

const STEP = 60;
const ZOOM = 1.25;

/**
 * @param {HTMLElement} canvas the view
 * @param {HTMLElement} knob the divider's handle
 * @param {Compare} compare
 */
export function attachGestures(canvas, knob, compare) {
  attachPointers(canvas, compare);
  canvas.addEventListener("wheel", (event) => wheel(event, canvas, compare), { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = pointOf(event, canvas);
    if (compare.viewport.fitted) compare.oneToOne(x, y);
    else compare.fit();
  });
  canvas.addEventListener("keydown", (event) => {
    const handled =
      event.target === knob ? knobKey(event, compare) || viewKey(event, compare) : viewKey(event, compare);
    if (handled) event.preventDefault();
  });
}

/** @param {MouseEvent} event @param {HTMLElement} canvas @returns {Point} */
function pointOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** @param {HTMLElement} canvas @param {Compare} compare */
function attachPointers(canvas, compare) {
  /** @type {Map<number, Point>} */
  const down = new Map();
  let dividing = false;
  /** Where a finger was put down that may be about to scroll the page. @type {Point | null} */
  let start = null;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const point = pointOf(event, canvas);
    down.set(event.pointerId, point);
    const onKnob = event.target instanceof Element && event.target.closest("[role=slider]") !== null;
    dividing = down.size === 1 && compare.isComparing && (onKnob || !compare.viewport.canPan);
    start = dividing && !onKnob && event.pointerType === "touch" ? point : null;
    if (dividing && !onKnob && !start) compare.divideAt(point.x);
    canvas.dataset["drag"] = String(!dividing && compare.viewport.canPan);
  });

  canvas.addEventListener("pointermove", (event) => {
    const from = down.get(event.pointerId);
    if (!from) return;
    const to = pointOf(event, canvas);
    down.set(event.pointerId, to);
    if (down.size === 2) return pinch(from, to, other(down, event.pointerId), compare);
    if (!dividing) return compare.pan(to.x - from.x, to.y - from.y);
    if (start && Math.abs(to.x - start.x) <= Math.abs(to.y - start.y)) return;
    start = null;
    compare.divideAt(to.x);
  });

  // Safari on a Mac tells of two fingers on the trackpad in events of its own; on an iPhone they come besides those of pointers.
  let stretch = 1;
  for (const name of ["gesturestart", "gesturechange"]) {
    canvas.addEventListener(name, (event) => {
      event.preventDefault();
      const gesture = /** @type {MouseEvent & {scale: number}} */ (event);
      const { x, y } = pointOf(gesture, canvas);
      if (name === "gesturechange" && down.size === 0) compare.zoomBy(gesture.scale / stretch, x, y);
      stretch = gesture.scale;
    });
  }

  canvas.addEventListener("pointerup", () => {
    if (dividing && start) compare.divideAt(start.x);
  });

  for (const name of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
    canvas.addEventListener(name, (event) => {
      down.delete(event.pointerId);
      dividing = false;
      canvas.dataset["drag"] = "false";
    });
  }
}

/** @param {Map<number, Point>} down @param {number} id @returns {Point} the other finger */
function other(down, id) {
  for (const [key, point] of down) if (key !== id) return point;
  return { x: 0, y: 0 };
}

/** @param {Point} from @param {Point} to of the finger that moved @param {Point} still @param {Compare} compare */
function pinch(from, to, still, compare) {
  const before = Math.hypot(from.x - still.x, from.y - still.y);
  const now = Math.hypot(to.x - still.x, to.y - still.y);
  compare.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
  if (before > 8) compare.zoomBy(now / before, (to.x + still.x) / 2, (to.y + still.y) / 2);
}

/** @param {WheelEvent} event @param {HTMLElement} canvas @param {Compare} compare */
function wheel(event, canvas, compare) {
  const pageScrolls = document.documentElement.scrollHeight > window.innerHeight + 1;
  if (pageScrolls && !event.ctrlKey) return;
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 16 : event.deltaY;
  const { x, y } = pointOf(event, canvas);
  compare.zoomBy(Math.exp(-lines * (event.ctrlKey ? 0.01 : 0.0022)), x, y);
}

/** @param {KeyboardEvent} event @param {Compare} compare @returns {boolean} whether the key meant something */
function knobKey(event, compare) {
  const step = event.shiftKey ? 0.1 : 0.02;
  /** @type {Record<string, number>} */
  const to = {
    ArrowLeft: compare.share - step,
    ArrowDown: compare.share - step,
    ArrowRight: compare.share + step,
    ArrowUp: compare.share + step,
    PageDown: compare.share - 0.1,
    PageUp: compare.share + 0.1,
    Home: 0,
    End: 1,
  };
  const share = to[event.key];
  if (share === undefined || event.altKey || event.ctrlKey || event.metaKey) return false;
  compare.divide(share);
  return true;
}

/** @param {KeyboardEvent} event @param {Compare} compare @returns {boolean} whether the key meant something */
function viewKey(event, compare) {
  if (event.altKey || event.ctrlKey || event.metaKey) return false;
  /** @type {Record<string, () => void>} */
  const act = {
    ArrowLeft: () => compare.pan(STEP, 0),
    ArrowRight: () => compare.pan(-STEP, 0),
    ArrowUp: () => compare.pan(0, STEP),
    ArrowDown: () => compare.pan(0, -STEP),
    "+": () => compare.zoomBy(ZOOM),
    "=": () => compare.zoomBy(ZOOM),
    "-": () => compare.zoomBy(1 / ZOOM),
    0: () => compare.fit(),
    1: () => compare.oneToOne(),
  };
  const does = act[event.key];
  if (!does || (event.key.startsWith("Arrow") && !compare.viewport.canPan)) return false;
  does();
  return true;
}
