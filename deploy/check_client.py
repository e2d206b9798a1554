"""The checks' client: sends pictures to the service on this machine, checks the PNGs, and asks Prometheus."""

import http.client
import json
import struct
import zlib
from urllib.parse import quote

from deploy.checking import PATIENCE, require

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers with lower-case names, body."""


def picture(height: int, width: int) -> bytes:
    """An 8-bit RGB PNG of (height, width) with ramps and rings in it, so that a swapped axis would show."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            ring = ((x - width // 3) ** 2 + (y - height // 2) ** 2) // 64 % 2 * 80
            rows += bytes((255 * x // width, 255 * y // height, 60 + ring))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_size(data: bytes) -> tuple[int, int]:
    """(height, width) of an 8-bit RGB PNG, after checking every chunk's sum and that all of its pixels are there."""
    require(data[:8] == b"\x89PNG\r\n\x1a\n", f"not a PNG: {data[:16]!r}")
    at, chunks = 8, list[tuple[bytes, bytes]]()
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        require(zlib.crc32(kind + body) == crc, f"chunk {kind!r} has a wrong checksum")
        chunks.append((kind, body))
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
    require((depth, colour) == (8, 2), f"not 8-bit RGB: depth {depth}, colour type {colour}")
    pixels = len(zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")))
    require(pixels == height * (1 + 3 * width), f"{pixels} bytes of rows for {height}x{width}")
    return height, width


def call(port: int, method: str, path: str, body: bytes | None = None, kind: str = "") -> Answer:
    """One request to 127.0.0.1:`port`: see Answer. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def post(port: int, data: bytes, path: str = "/upscale?scale=4") -> Answer:
    """The picture as a browser's form sends it, in the field `image`."""
    form = b'--X\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n'
    return call(port, "POST", path, form + data + b"\r\n--X--\r\n", "multipart/form-data; boundary=X")


def query(port: int, expression: str) -> list[float]:
    """The values that Prometheus answers to an instant query, one a series."""
    status, _, body = call(port, "GET", "/api/v1/query?query=" + quote(expression))
    require(status == 200, f"Prometheus answered {status} to {expression}: {body[:200]!r}")
    return [float(series["value"][1]) for series in json.loads(body)["data"]["result"]]
