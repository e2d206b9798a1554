/** A picture's format and size, from the first bytes of its file: known before anything is sent. */

/** @typedef {{height: number, width: number}} Size pixels */
/** @typedef {Size & {format: string}} Header format in lower case; size 0 where it is not told */

const WINDOW = 64 * 1024;
/** Segments of a JPEG, or entries of a TIFF, that are looked at; more is no ordinary file. */
const MOST_STEPS = 2000;
/** Kinds of boxes of ISO/IEC 23008-12 and 14496-12, and the largest block that their pictures are filled up to. */
const [ISPE, CLAP, IROT] = [0x69737065, 0x636c6170, 0x69726f74];
const BLOCK = 64;
/** How a JPEG XL in boxes begins. */
const JXL_BOX = "\0\0\0\x0cJXL \r\n\x87\n";

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
  if (start.startsWith("\xff\x0a") || start === JXL_BOX) return "jxl";
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
  jxl: (head, bytes) => jxlSize(head, bytes),
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

/** @param {Bytes} bytes @returns {Promise<Size | null>} the largest item's (`ispe`), cropped (`clap`), turned (`irot`) */
async function boxesSize(bytes) {
  const view = await bytes.read(0, WINDOW);
  let height = 0;
  let width = 0;
  let turned = false;
  for (let at = 4; at + 5 <= view.byteLength; at += 1) {
    const kind = view.getUint32(at);
    if (kind === ISPE && at + 16 <= view.byteLength && view.getUint32(at + 8) * view.getUint32(at + 12) > height * width) {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
    } else if (kind === CLAP && at + 20 <= view.byteLength) {
      const across = view.getUint32(at + 4) / view.getUint32(at + 8);
      const down = view.getUint32(at + 12) / view.getUint32(at + 16);
      // Encoders fill up to whole blocks and crop again; what is much smaller is a thumbnail's.
      if (across <= width && width - across < BLOCK) width = across;
      if (down <= height && height - down < BLOCK) height = down;
    } else if (kind === IROT) turned = (view.getUint8(at + 4) & 1) === 1;
  }
  if (height === 0) return null;
  return turned ? { width: height, height: width } : { width, height };
}

/** Of a JPEG XL's ratio 1 to 7, its width by its height. */
const RATIOS = [1, 1, 12 / 10, 4 / 3, 3 / 2, 16 / 9, 5 / 4, 2];

/** @param {DataView} head @param {Bytes} bytes @returns {Promise<Size | null>} ISO/IEC 18181-1, annex D, upright */
async function jxlSize(head, bytes) {
  const start = head.getUint16(0) === 0xff0a ? 0 : await codestreamOf(bytes);
  const view = await bytes.read(start, 32);
  if (view.getUint16(0) !== 0xff0a) return null;
  let at = 16;
  const take = (/** @type {number} */ count) => {
    let value = 0;
    for (let i = 0; i < count; i += 1, at += 1) value += ((view.getUint8(at >> 3) >> (at & 7)) & 1) * 2 ** i;
    return value;
  };
  const isSmall = take(1) === 1;
  const length = () => (isSmall ? 8 * (take(5) + 1) : take([9, 13, 18, 30][take(2)] ?? 0) + 1);
  const height = length();
  const ratio = take(3);
  const width = ratio === 0 ? length() : Math.floor(height * (RATIOS[ratio] ?? 1) + 1e-9);
  const hasExtra = take(1) === 0 && take(1) === 1;
  return hasExtra && take(3) >= 4 ? { height: width, width: height } : { height, width };
}

/** @param {Bytes} bytes of a JPEG XL in boxes @returns {Promise<number>} where its codestream begins */
async function codestreamOf(bytes) {
  for (let at = 0, step = 0; step < MOST_STEPS; step += 1) {
    const view = await bytes.read(at, 16);
    const kind = ascii(view, 4, 4);
    const body = view.getUint32(0) === 1 ? 16 : 8;
    if (kind === "jxlc") return at + body;
    if (kind === "jxlp") return at + body + 4;
    at += body === 16 ? Number(view.getBigUint64(8)) : view.getUint32(0);
    if (view.getUint32(0) === 0) break;
  }
  return 0;
}
