"""ExifTool as an independent check: it finds no location in kept metadata, and edits every result without a warning."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.codec.metadata.sources import CASES, FORMATS, IPTC, exif, exif_block, gif, png, with_all, xmp
from tests.codec.support import upscaled, wanted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed"),
]

TARGETS = ("png", "jpeg", "webp", "avif", "tiff")
PACKET = xmp(
    'dc:title="Dunes" xmp:Rating="4" tiff:Orientation="6" tiff:XResolution="300" photoshop:City="SECRET" '
    'exif:GPSLatitude="12,34.5N" drone-dji:GpsLatitude="12.3" drone-skydio:Latitude="12.3" lr:weightedFlatSubject="a"',
    "<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li Iptc4xmpExt:City='SECRET'/></rdf:Bag></Iptc4xmpExt:LocationShown>"
    "<Iptc4xmpCore:Location>SECRET</Iptc4xmpCore:Location><dc:creator><rdf:Seq/></dc:creator>",
)
LARGE = xmp("", f"<dc:description>{'x' * 100_000}</dc:description><dc:title>Dunes</dc:title>")


def _block() -> bytes:
    source = exif(6, XResolution=300.0, YResolution=200.0, Copyright="© A. Painter".encode(), Rating=4)
    source.get_ifd(0x8769)[0xA005] = {1: "R98", 2: b"0100"}
    source.get_ifd(0x8825).update({1: "N", 2: (12.0, 34.0, 5.0), 3: "W", 4: (98.0, 0.0, 0.0)})
    return exif_block(source)


SOURCES = {
    **{form: with_all(form, PACKET, _block(), IPTC) for form in FORMATS},
    "GIF": gif(PACKET.encode()),
    "large": with_all("PNG", LARGE, _block(), IPTC),
    "interop": (CASES / "camera_interop_le.jpg").read_bytes(),
    "drone": (CASES / "xmp_dji_attr.jpg").read_bytes(),
    "resolution": png((b"pHYs", b"\0\1\0\0\0\1\0\0\1")),
}


def _exiftool(*arguments: object) -> str:
    done = subprocess.run(["exiftool", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _results(folder: Path, choice: Any) -> list[Path]:
    """The result of every source in every output format."""
    made = []
    for name, data in SOURCES.items():
        for target in TARGETS:
            made.append(folder / f"{name}.{target}")
            made[-1].write_bytes(upscaled(data, 2, metadata=choice, encode=wanted(format=target))[1].body)
    return made


@pytest.mark.parametrize("choice", ["keep", "all"])
def test_exiftool_edits_every_result_without_a_warning(tmp_path: Path, choice: str) -> None:
    made = _results(tmp_path, choice)
    assert f"{len(made)} image files updated" in _exiftool("-overwrite_original", "-Artist=x", *made)
    for found in json.loads(_exiftool("-q", "-j", "-Artist", *made)):
        assert found["Artist"] == "x"


PLACES = ("GPS", "City", "Country", "State", "Location", "Latitude", "Position", "Sublocation", "Keywords", "Subject")


def test_exiftool_finds_no_location_in_results_of_keep(tmp_path: Path) -> None:
    made = _results(tmp_path, "keep")
    tags = json.loads(_exiftool("-q", "-j", "-a", "-u", "-G1", "-gps:all", "-xmp:all", "-iptc:all", "-exif:all", *made))
    assert len(tags) == len(made)
    for found in tags:
        named = [name for name in found if name.partition(":")[2].startswith(PLACES)]
        assert named == [], found["SourceFile"]
        assert "SECRET" not in json.dumps(found)


def test_exiftool_finds_kept_values_unchanged(tmp_path: Path) -> None:
    for found in json.loads(_exiftool("-q", "-j", "-G1", "-n", *_results(tmp_path, "keep"))):
        source, _, target = Path(found["SourceFile"]).name.partition(".")
        if source not in FORMATS:
            continue
        assert found["IFD0:Artist"] == "A. Painter"
        # Pillow, which writes the EXIF of the TIFF and AVIF sources, only supports ASCII.
        assert found["IFD0:Copyright"] == ("?? A. Painter" if source in ("TIFF", "AVIF") else "© A. Painter")
        assert found["IFD0:Rating"] == 4
        assert found["ExifIFD:LensModel"] == "50mm"
        assert (found["IFD0:XResolution"], found["IFD0:YResolution"]) == (400, 600)
        assert found["XMP-dc:Title"] == "Dunes"
        assert found["XMP-tiff:Orientation"] == 1
        assert found["XMP-tiff:YResolution"] == 600
        has_iptc = source in ("PNG", "JPEG", "TIFF") and target in ("png", "jpeg", "tiff")
        assert found.get("IPTC:ObjectName") == ("Dunes" if has_iptc else None)
        assert not any(name.startswith(("ExifTool:Warning", "ExifTool:Error")) for name in found)
