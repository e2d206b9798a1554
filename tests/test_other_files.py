"""Files that are no pictures here are named, and no picture is."""

import base64
import io

import httpx
import pytest
from PIL import Image

from app.formats import FORMATS
from app.other_files import name_of
from tests import pictures

PNG = pictures.png(pictures.gray())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\3\4" + bytes(30), "a ZIP archive, or a document that is kept in one"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\xef\xbb\xbf\r\n<SVG>", "an SVG drawing"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML or XML document"),
        (base64.b64encode(PNG), "a picture as base64 text; send its bytes as they are"),
        (b"data:image/png;base64," + base64.b64encode(PNG), "a picture as base64 text; send its bytes as they are"),
        (
            PNG.replace(b"\r\n", b"\n", 1),
            "a PNG whose line ends were changed on the way; send it as binary data",
        ),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw file"),
        (b"\0\0\0\x18ftypisom\0\0\0\1", "a video"),
        (b"P6\n1 1\n255\nabc", "Netpbm (PPM, PGM, PBM, PAM or PFM)"),
        (b"PF\n1 1\n-1.0\n" + bytes(12), "Netpbm (PPM, PGM, PBM, PAM or PFM)"),
        (b"\0\0\2\0\1\0\x20\x20", "a cursor"),
        (b"\0\0\2" + bytes(9) + b"\4\0\4\0\x18\0", "Targa (TGA)"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video"),
        (b"RIFF\x10\0\0\0WAVEfmt ", ""),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\0\0\0\x18ftypmif1\0\0\0\1", "a HEIF of another kind than HEIC and AVIF"),
        (b"\0\0\0\x18ftyp????\0\0\0\1", ""),
        (PNG.decode("utf-8", "replace").encode(), "a PNG that was read as text; send it as binary data"),
        (
            b"\xff\xd8\xff\xe0".decode("utf-8", "replace").encode(),
            "a JPEG that was read as text; send it as binary data",
        ),
        (
            b"photo.jpg",
            "text, such as a file's name; send the file itself (curl needs an @ before it: -F image=@photo.png)",
        ),
        (b"", ""),
        (b"\0\1nothing in particular", ""),
        (300 * b"nothing in particular", ""),
    ],
)
def test_files_are_recognised_by_their_first_bytes(data: bytes, name: str) -> None:
    assert name_of(data) == name


def test_pictures_are_not_recognised_as_other_files() -> None:
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"):
        file = io.BytesIO()
        Image.new("RGB", (4, 4)).save(file, form)
        assert any(row.matches(file.getvalue()) for row in FORMATS)
        assert name_of(file.getvalue()) == ("" if form != "PNG" else name_of(PNG))


async def test_the_error_names_the_kind_of_file_that_was_sent(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upscale", content=b"%PDF-1.7\n", headers={"content-type": "image/png"})
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith(
        "This seems to be a PDF document. It is not a picture in an accepted format. Accepted formats: PNG, "
    )
