/** A result on the clipboard: as PNG, which is what every browser takes there. */

/** @returns {boolean} whether there is a clipboard to write to: only on secure pages and on this machine */
export function hasClipboard() {
  return typeof ClipboardItem === "function" && typeof navigator.clipboard?.write === "function";
}

/** @param {Blob} picture @returns {Promise<void>} rejects where the browser does not allow it */
export async function copyPicture(picture) {
  const png = picture.type === "image/png" ? Promise.resolve(picture) : asPng(picture);
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}

/** @param {Blob} picture @returns {Promise<Blob>} */
async function asPng(picture) {
  const decoded = await createImageBitmap(picture);
  const canvas = new OffscreenCanvas(decoded.width, decoded.height);
  canvas.getContext("2d")?.drawImage(decoded, 0, 0);
  decoded.close();
  return canvas.convertToBlob({ type: "image/png" });
}
