/** A picture's format and size, from the first bytes of its file: known before anything is sent. */

/** @typedef {{height: number, width: number}} Size pixels */
/** @typedef {Size & {format: string}} Header format in lower case; size 0 where it is not told */

const WINDOW = 64 * 1024;
/** Segments of a JPEG, or entries of a TIFF, that are looked at; more is no ordinary file. */
const MOST_STEPS = 2000;

/** Bytes of a file, read a window at a time. */
class Bytes {
  #blob;
  #from = 0;
  #view = new DataView(new ArrayBuffer(0));

  /** @param {Blob} blob */
  constructor(blob) {
    this.#blob = blob;
  }

  /** @param {number} at @param {number} length @returns {Promise<DataView>} may be shorter at the end of the file */
  async read(at, length) {
    const end = this.#from + this.#view.byteLength;
    if (at < this.#from || at + length > end) {
      this.#from = at;
      this.#view = new DataView(await this.#blob.slice(at, at + Math.max(WINDOW, length)).arrayBuffer());
    }
    const start = at - this.#from;
    return new DataView(this.#view.buffer, start, Math.max(0, Math.min(length, this.#view.byteLength - start)));
  }
}

/** @param {DataView} view @param {number} at @param {number} length @returns {string} */
function ascii(view, at, length) {
  let found = "";
  for (let i = at; i < Math.min(at + length, view.byteLength); i += 1) found += String.fromCharCode(view.getUint8(i));
  return found;
}

/** @param {Blob} blob @returns {Promise<Header | null>} null for what is no picture of a known format */
export async function readHeader(blob) {
  const bytes = new Bytes(blob);
  try {
    const head = await bytes.read(0, 64);
    const format = formatOf(head);
    if (!format) return null;
    return { format, ...(await SIZES[format]?.(head, bytes).catch(() => null) ?? { height: 0, width: 0 }) };
  } catch {
    return null;
  }
}

/** @param {DataView} head @returns {string} or empty */
function formatOf(head) {
  const start = ascii(head, 0, 12);
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (start.startsWith("\xff\xd8\xff")) return "jpeg";
  if (start.startsWith("RIFF") && start.endsWith("WEBP")) return "webp";
  if (/^GIF8[79]a/.test(start)) return "gif";
  if (start.startsWith("BM")) return "bmp";
  if (/^(II[*+]\0|MM\0[*+])/.test(start)) return "tiff";
  if (start.slice(4, 8) !== "ftyp") return "";
  const brands = ascii(head, 8, 56);
  if (/avi[fs]/.test(brands)) return "avif";
  return /hei[cxms]|hev[cx]|mif1|msf1/.test(brands) ? "heic" : "";
}

/** @type {Record<string, (head: DataView, bytes: Bytes) => Promise<Size | null>>} */
const SIZES = {
  png: async (head) => ({ width: head.getUint32(16), height: head.getUint32(20) }),
  gif: async (head) => ({ width: head.getUint16(6, true), height: head.getUint16(8, true) }),
  bmp: async (head) =>
    head.getUint32(14, true) === 12
      ? { width: head.getUint16(18, true), height: head.getUint16(20, true) }
      : { width: Math.abs(head.getInt32(18, true)), height: Math.abs(head.getInt32(22, true)) },
  webp: async (head) => webpSize(head),
  jpeg: (_, bytes) => jpegSize(bytes),
  tiff: (head, bytes) => tiffSize(head, bytes),
  avif: (_, bytes) => boxesSize(bytes),
  heic: (_, bytes) => boxesSize(bytes),
};

/** @param {DataView} head @returns {Size | null} RFC 9649, section 2.5 to 2.7 */
function webpSize(head) {
  const kind = ascii(head, 12, 4);
  if (kind === "VP8 ") return { width: head.getUint16(26, true) & 0x3fff, height: head.getUint16(28, true) & 0x3fff };
  if (kind === "VP8L") {
    const bits = head.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (kind !== "VP8X") return null;
  const three = (/** @type {number} */ at) => head.getUint16(at, true) | (head.getUint8(at + 2) << 16);
  return { width: three(24) + 1, height: three(27) + 1 };
}

/** @param {Bytes} bytes @returns {Promise<Size | null>} from the start of frame, past any metadata */
async function jpegSize(bytes) {
  for (let at = 2, step = 0; step < MOST_STEPS; step += 1) {
    const view = await bytes.read(at, 10);
    if (view.getUint8(0) !== 0xff) return null;
    const marker = view.getUint8(1);
    if (marker === 0xff) at += 1;
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { height: view.getUint16(5), width: view.getUint16(7) };
    } else at += 2 + view.getUint16(2);
  }
  return null;
}

/** @param {DataView} head @param {Bytes} bytes @returns {Promise<Size | null>} of the first directory, upright */
async function tiffSize(head, bytes) {
  const little = head.getUint16(0) === 0x4949;
  const big = head.getUint16(2, little) === 43;
  const start = big ? Number(head.getBigUint64(8, little)) : head.getUint32(4, little);
  const [countSize, entrySize] = big ? [8, 20] : [2, 12];
  const first = await bytes.read(start, countSize);
  const count = big ? Number(first.getBigUint64(0, little)) : first.getUint16(0, little);
  /** @type {Map<number, number>} */
  const tags = new Map();
  const entries = await bytes.read(start + countSize, Math.min(count, MOST_STEPS) * entrySize);
  for (let at = 0; at + entrySize <= entries.byteLength; at += entrySize) {
    const value = at + entrySize - (big ? 8 : 4);
    const isShort = entries.getUint16(at + 2, little) === 3;
    tags.set(entries.getUint16(at, little), isShort ? entries.getUint16(value, little) : entries.getUint32(value, little));
  }
  const size = { width: tags.get(256) ?? 0, height: tags.get(257) ?? 0 };
  return (tags.get(274) ?? 1) > 4 ? { width: size.height, height: size.width } : size;
}

/** @param {Bytes} bytes @returns {Promise<Size | null>} the largest item's (`ispe`), turned where an `irot` says so */
async function boxesSize(bytes) {
  const view = await bytes.read(0, WINDOW);
  /** @type {Size | null} */
  let largest = null;
  let turned = false;
  for (let at = 4; at + 5 <= view.byteLength; at += 1) {
    const kind = view.getUint32(at);
    if (kind === 0x69737065 && at + 16 <= view.byteLength) {
      const size = { width: view.getUint32(at + 8), height: view.getUint32(at + 12) };
      if (!largest || size.width * size.height > largest.width * largest.height) largest = size;
    } else if (kind === 0x69726f74) turned = (view.getUint8(at + 4) & 1) === 1;
  }
  return largest && turned ? { width: largest.height, height: largest.width } : largest;
}
