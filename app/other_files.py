"""Recognises common files that are not pictures in a known format, so that error messages can name them."""

_BEGINNINGS = {
    b"PK\x03\x04": "a ZIP archive, or a document that is kept in one",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"iVBORw0KGgo": "a picture as base64 text; send its bytes as they are",
    b"/9j/": "a picture as base64 text; send its bytes as they are",
    b"data:image/": "a picture as base64 text; send its bytes as they are",
    b"\x89PNG": "a PNG whose line ends were changed on the way; send it as binary data",
    b"\xef\xbf\xbdPNG": "a PNG that was read as text; send it as binary data",
    b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd": "a JPEG that was read as text; send it as binary data",
    b"8BPS": "a Photoshop document",
    b"gimp xcf": "a GIMP drawing",
    b"\0\0\1\0": "an icon",
    b"\0\0\2\0\0": "Targa (TGA)",
    b"\0\0\x0a\0\0": "Targa (TGA)",
    b"\0\0\2\0": "a cursor",
    b"\n\5\1": "PCX",
    b"\1\xda\0": "SGI",
    b"\1\xda\1": "SGI",
    b"\x8aMNG": "MNG",
    b"SIMPLE  =": "FITS",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II\xbc": "JPEG XR",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
    b"IIU\0": "a camera's raw file",
    b"IIRO": "a camera's raw file",
    b"\x1aE\xdf\xa3": "a video",
    b"\0\0\1\xba": "a video",
    b"FLV\1": "a video",
    b"\x7fELF": "a program",
} | {f"P{kind}".encode() + end: "Netpbm (PPM, PGM, PBM, PAM or PFM)" for kind in "1234567Ff" for end in (b"\n", b" ")}
_HEIF = (b"mif1", b"mif2", b"mif3", b"miaf", b"jpeg", b"j2ki", b"avci", b"vvic", b"unif")
_BRANDS = {b"crx ": "a camera's raw file"} | dict.fromkeys(_HEIF, "a HEIF of another kind than HEIC and AVIF")
_BRANDS |= dict.fromkeys(
    (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5"),
    "a video",
)
_TEXT = 1024  # bytes of a text that are searched
_MAX_NAME = 255


def name_of(data: bytes) -> str:
    """What a file seems to be by its first bytes; "" if unknown."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(bytes(data[8:12]), "")
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "a video"
    if data[128:132] == b"DICM":
        return "DICOM"
    text = bytes(data[:_TEXT]).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in text else "an HTML or XML document"
    known = next((name for start, name in _BEGINNINGS.items() if data.startswith(start)), "")
    if not known and len(data) <= _MAX_NAME and data.isascii() and data.decode("ascii").isprintable() and data:
        return "text, such as a file's name; send the file itself (curl needs an @ before it: -F image=@photo.png)"
    return known
