"""X-Upscale-Metadata: what the result lacks of the source's metadata, and why."""

import httpx

from tests.codec.metadata.sources import IPTC, exif, exif_block, png, raw_profile, resources

IMAGE_PNG = {"content-type": "image/png"}
GARBAGE = png((b"eXIf", b"no directory of anything"))


async def test_unreadable_exif_is_reported_and_the_picture_upscaled(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upscale?scale=2", content=GARBAGE, headers=IMAGE_PNG)
    assert answer.status_code == 200
    assert answer.headers["x-upscale-metadata"] == "exif dropped (unreadable)"


async def test_all_metadata_that_is_left_out_is_reported(client: httpx.AsyncClient) -> None:
    block = exif_block(exif(ImageDescription="x" * 70_000))
    body = png((b"eXIf", block), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"), raw_profile("8bim", resources(IPTC)))
    answer = await client.post("/upscale?scale=2&metadata=keep&format=jpeg", content=body, headers=IMAGE_PNG)
    assert answer.status_code == 200
    assert answer.headers["x-upscale-metadata"] == "xmp dropped (unreadable); exif dropped (too large for jpeg)"


async def test_no_header_is_sent_if_no_metadata_is_left_out(client: httpx.AsyncClient) -> None:
    body = png((b"eXIf", exif_block(exif())))
    answer = await client.post("/upscale?scale=2&metadata=keep", content=body, headers=IMAGE_PNG)
    assert answer.status_code == 200
    assert "x-upscale-metadata" not in answer.headers


async def test_a_job_reports_the_same_as_the_headers_of_the_picture(client: httpx.AsyncClient) -> None:
    for body, query in [(GARBAGE, "?scale=2"), (png()[:-60], "?truncated=allow&scale=2"), (png(), "?scale=2")]:
        at_once = (await client.post(f"/upscale{query}", content=body, headers=IMAGE_PNG)).headers
        accepted = await client.post(f"/upscale{query}", content=body, headers=IMAGE_PNG | {"prefer": "respond-async"})
        assert [accepted.json()[name] for name in ("model", "metadata", "truncated")] == [None] * 3
        await client.get(f"{accepted.headers['location']}/events")  # to its end
        job = (await client.get(accepted.headers["location"])).json()
        assert job["model"] == at_once["x-upscale-model"]
        assert job["clean"] == at_once["x-upscale-clean"]
        assert job["metadata"] == at_once.get("x-upscale-metadata", "")
        assert job["truncated"] == ("x-upscale-truncated" in at_once)
