"""A CMYK profile built by hand, as LittleCMS cannot create one: a table from inks to CIELAB at the corners."""

import itertools
import struct


def cmyk_profile(chroma: float = 0.6) -> bytes:
    """An ICC version 2 profile of 16 measured colours: every ink full or absent. (ICC.1:2001-04, 6.5.8: lut8Type.)

    With a `chroma` of 1 or more, inks are more colourful than sRGB can show.
    """
    corners = bytearray()
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        lightness = (100 - 30 * cyan - 40 * magenta - 8 * yellow) * (1 - 0.85 * black)
        a, b = (-35 * cyan + 70 * magenta - 6 * yellow), (-45 * cyan - 5 * magenta + 90 * yellow)
        fade = 0 if black else chroma
        corners += bytes([round(lightness * 2.55), round(128 + a * fade), round(128 + b * fade)])
    ramp, identity = bytes(range(256)), struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(corners) + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"A2B0", table), (b"A2B1", table), (b"wtpt", white)]
    directory, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        directory += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", 128 + len(directory + body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + directory + body
