/** The overlay on a picture that is being worked on: one cell for each tile, gone when the tile is done. */

/** @typedef {import("./viewport.js").Viewport} Viewport */

/**
 * @param {number} total how many cells
 * @param {number} height @param {number} width of the picture, any unit
 * @returns {{rows: number, columns: number}} nearly square cells, at least `total` of them, no empty row
 */
export function grid(total, height, width) {
  const columns = Math.max(1, Math.min(total, Math.round(Math.sqrt((total * width) / height))));
  return { rows: Math.ceil(total / columns), columns };
}

/**
 * The service tells how many tiles are done, not which; they lift in reading order.
 * @param {HTMLCanvasElement} canvas
 * @param {Viewport} viewport
 * @param {{done: number, total: number} | null} tiles null: no overlay; total 0: not counted yet
 */
export function drawTileOverlay(canvas, viewport, tiles) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { density } = viewport;
  canvas.height = Math.round(viewport.height * density);
  canvas.width = Math.round(viewport.width * density);
  canvas.hidden = tiles === null;
  if (!tiles) return;
  const total = Math.max(1, tiles.total);
  const height = viewport.pictureHeight * viewport.scale * density;
  const width = viewport.pictureWidth * viewport.scale * density;
  const { rows, columns } = grid(total, height, width);
  context.fillStyle = getComputedStyle(canvas).color;
  context.globalAlpha = 0.66;
  const edge = (
    /** @type {number} */ from,
    /** @type {number} */ length,
    /** @type {number} */ i,
    /** @type {number} */ n,
  ) => (i === n ? Math.ceil(from + length) : Math.round(from + (length * i) / n));
  for (let cell = tiles.done; cell < total; cell += 1) {
    const row = Math.floor(cell / columns);
    const inRow = row === rows - 1 ? total - row * columns : columns;
    const column = cell - row * columns;
    const top = edge(viewport.y * density, height, row, rows);
    const left = edge(viewport.x * density, width, column, inRow);
    const gap = total > 1 ? 1 : 0;
    context.fillRect(
      left,
      top,
      edge(viewport.x * density, width, column + 1, inRow) - left - gap,
      edge(viewport.y * density, height, row + 1, rows) - top - gap,
    );
  }
}
