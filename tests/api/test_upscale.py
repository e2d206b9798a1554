"""POST, GET and DELETE /upscale on a network that repeats pixels."""

import gc
import io
import re

import httpx
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from starlette.requests import cookie_parser

from app.api.form import FormSink
from app.service.job import Job
from app.service.level_writer import LevelWriter
from app.service.pipeline import Upload
from tests import pictures
from tests.conftest import Running, service_of, until
from tests.fakes import FakeModel

ID = re.compile(r"[A-Za-z0-9_-]{32}")


async def post(
    client: httpx.AsyncClient, query: str = "", body: bytes | None = None, **kwargs: object
) -> httpx.Response:
    picture = pictures.png(pictures.gray()) if body is None else body
    response = await client.post(f"/upscale{query}", files={"image": ("a.png", picture, "image/png")}, **kwargs)  # type: ignore[arg-type]
    client.cookies.clear()
    return response


@pytest.mark.parametrize("scale", [2, 4])
async def test_gray_is_repeated_pixel_by_pixel(client: httpx.AsyncClient, scale: int) -> None:
    answer = await post(client, f"?scale={scale}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    expected = pictures.gray().repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_array_equal(pictures.opened(answer.content), expected)


async def test_the_default_scale_is_4(client: httpx.AsyncClient) -> None:
    answer = await post(client, body=pictures.png(pictures.rgb(5, 7)))
    assert pictures.opened(answer.content).shape == (20, 28, 3)


@pytest.mark.parametrize("field", ["image", "file"])
async def test_both_field_names_of_the_form_are_accepted(client: httpx.AsyncClient, field: str) -> None:
    answer = await client.post("/upscale", files={field: ("x", pictures.png(pictures.gray()))})
    assert answer.status_code == 200


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "image/x-anything", "application/octet-stream"])
async def test_the_format_of_a_raw_body_is_detected_from_its_bytes(
    client: httpx.AsyncClient, content_type: str
) -> None:
    body = pictures.png(pictures.gray())
    answer = await client.post("/upscale", content=body, headers={"content-type": content_type})
    assert answer.status_code == 200
    assert pictures.opened(answer.content).shape == (24, 36)


async def test_the_response_has_the_documented_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upscale?scale=4", files={"image": pictures.png(pictures.gray())})
    result_id = answer.headers["x-upscale-id"]
    assert ID.fullmatch(result_id)
    assert answer.headers["content-location"] == f"/upscale?level=4&id={result_id}"
    assert answer.headers["link"] == f'</upscale?level=2&id={result_id}>; rel="alternate"; title="x2"'
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["etag"])
    assert answer.headers["set-cookie"] == (
        f"upscale_id={result_id}; HttpOnly; Max-Age=600; Path=/upscale; SameSite=strict"
    )
    assert answer.headers["content-disposition"] == 'inline; filename="upscaled_x4.png"'
    stages = [entry.split(";")[0] for entry in answer.headers["server-timing"].split(", ")]
    assert stages == ["read", "decode", "queue", "infer", "merge", "encode", "total"]


async def test_the_cookie_is_secure_under_https(serve: Running) -> None:
    async with serve() as client:
        client.base_url = httpx.URL("https://test")
        answer = await client.post("/upscale", files={"image": pictures.png(pictures.gray())})
        assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("level", [2, 4])
async def test_every_level_of_a_pass_can_be_fetched_by_id(client: httpx.AsyncClient, level: int) -> None:
    made = await post(client, "?scale=4")
    answer = await client.get(f"/upscale?level={level}&id={made.headers['x-upscale-id']}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == f'inline; filename="upscaled_x{level}.png"'
    expected = pictures.gray().repeat(level, axis=0).repeat(level, axis=1)
    np.testing.assert_array_equal(pictures.opened(answer.content), expected)


async def test_fetching_level_4_again_gives_the_same_bytes_and_etag(client: httpx.AsyncClient) -> None:
    made = await post(client, "?scale=4")
    again = await client.get(made.headers["content-location"])
    assert again.content == made.content
    assert again.headers["etag"] == made.headers["etag"]


async def test_the_cookie_identifies_the_result(client: httpx.AsyncClient) -> None:
    await client.post("/upscale?scale=4", files={"image": pictures.png(pictures.gray())})
    answer = await client.get("/upscale?level=2")
    assert pictures.opened(answer.content).shape == (12, 18)


@pytest.mark.parametrize(
    "sent",
    [
        "upscale_id={}",
        'other="a\\\\b"; upscale_id={}',
        "a=b;upscale_id={} ;c=d",
        'upscale_id="{}"',
        "upscale_id=a; upscale_id={}",
    ],
)
async def test_other_cookies_are_not_parsed(
    client: httpx.AsyncClient, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of Python need 13 s to parse 64 KiB of backslashes; meanwhile nobody is served."""
    made = await post(client)
    seen: list[str] = []

    def parsed(text: str) -> dict[str, str]:
        seen.append(text)
        return cookie_parser(text)

    monkeypatch.setattr("starlette.requests.cookie_parser", parsed)
    result_id = made.headers["x-upscale-id"]
    assert (await client.get("/upscale?level=2", headers={"cookie": sent.format(result_id)})).status_code == 200
    for path in ("/healthz", "/model"):
        assert (await client.get(path, headers={"cookie": 'a="\\\\"; b=c'})).status_code == 200
    assert set(seen) == {f"upscale_id={result_id}", ""}


async def test_the_cookie_is_limited_to_the_upscale_path(client: httpx.AsyncClient) -> None:
    await client.post("/upscale", files={"image": pictures.png(pictures.gray())})
    assert [cookie.path for cookie in client.cookies.jar] == ["/upscale"]


async def test_without_id_and_cookie_no_result_is_returned(client: httpx.AsyncClient) -> None:
    await post(client)
    answer = await client.get("/upscale?level=2")
    assert answer.status_code == 400
    assert "id=" in answer.json()["detail"]
    assert "cookie" in answer.json()["detail"]


async def test_a_level_that_was_not_made_and_an_unknown_id_get_the_same_404(client: httpx.AsyncClient) -> None:
    small = await post(client, "?scale=2")
    not_made = await client.get(f"/upscale?level=4&id={small.headers['x-upscale-id']}")
    unknown = await client.get(f"/upscale?level=4&id={'A' * 32}")
    assert not_made.status_code == unknown.status_code == 404
    assert not_made.json()["detail"] == unknown.json()["detail"]


async def test_scale_2_has_no_link_to_another_level(client: httpx.AsyncClient) -> None:
    assert "link" not in (await post(client, "?scale=2")).headers


async def test_scale_2_runs_the_first_level_only(serve: Running) -> None:
    asked: list[int] = []

    class Noting(FakeModel):
        def run(self, tiles, scale, *, full_precision=False, clean=0.0, compressed=True):  # type: ignore[no-untyped-def]
            asked.append(scale)
            return super().run(tiles, scale, full_precision=full_precision, clean=clean)

    async with serve([Noting]) as client:
        await post(client, "?scale=2")
    assert asked == [2]


async def test_a_matching_etag_is_answered_with_304(client: httpx.AsyncClient) -> None:
    made = await post(client)
    url, tag = made.headers["content-location"], made.headers["etag"]
    same = await client.get(url, headers={"if-none-match": f'"other", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    changed = await client.get(url, headers={"if-none-match": '"other"'})
    assert changed.status_code == 200


async def test_delete_removes_every_level_and_the_cookie(client: httpx.AsyncClient) -> None:
    made = await client.post("/upscale", files={"image": pictures.png(pictures.gray())})
    result_id = made.headers["x-upscale-id"]
    gone = await client.delete(f"/upscale?id={result_id}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "Max-Age=0" in gone.headers["set-cookie"]
    for level in (2, 4):
        assert (await client.get(f"/upscale?level={level}&id={result_id}")).status_code == 404
    assert (await client.delete(f"/upscale?id={result_id}")).status_code == 404
    assert service_of(client).store.size_bytes == 0


async def test_a_finished_upscale_leaves_no_reference_cycles(serve: Running) -> None:
    """The garbage collector may not run for hundreds of requests, each with a large picture."""
    # Not isinstance, which asks every object for its class, and some of PyTorch warn then.

    def kept() -> list[object]:
        return [each for each in gc.get_objects() if type(each) in (Job, Upload, LevelWriter, FormSink)]

    async with serve(result_max_bytes=0) as client:
        before = kept()  # by other tests
        gc.disable()
        try:
            for body in (pictures.png(pictures.rgb(40, 50)), b"no picture"):
                await post(client, body=body)
                await until(lambda: len(kept()) == len(before))
        finally:
            gc.enable()


async def test_result_ids_differ(client: httpx.AsyncClient) -> None:
    ids = {(await post(client)).headers["x-upscale-id"] for _ in range(5)}
    assert len(ids) == 5


async def test_the_same_request_gives_the_same_bytes(client: httpx.AsyncClient) -> None:
    body = pictures.png(pictures.rgb(40, 50))
    first, second = await post(client, body=body), await post(client, body=body)
    assert first.content == second.content


@pytest.mark.parametrize(
    "query",
    [
        "?scale=8",
        "?scale=9",
        "?scale=",
        "?scale=0.5",
        "?scale=-2",
        "?scale=nan",
        "?width=0",
        "?height=1.5",
        "?width=37",
        "?scal=4",
        "?level=2",
    ],
)
async def test_bad_parameters_are_422(client: httpx.AsyncClient, query: str) -> None:
    answer = await post(client, query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:lapsrn:problem:bad-parameter"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("scale=9", "scale: must be at most 8"),
        ("scale=4&scale=2", "scale: may be given only once"),
        ("scale=2&scale=2", "scale: may be given only once"),
        ("scale=2&sc%61le=4", "scale: may be given only once"),
        ("clean=0&clean=1", "clean: may be given only once"),
        ("scale=0_2", "scale: must be a number, in digits"),
        ("width=1_0", "width: must be a number, in digits"),
        ("ensemble=maybe", "ensemble: must be true or false"),
        ("effort=standard", "effort: must be medium, high or best"),
        ("depth=16", "depth: must be keep or 8"),
        ("format=gif", "format: must be png, webp, jpeg, avif, tiff or jxl"),
        (f"model={'x' * 65}", "model: may have at most 64 characters"),
        (
            "scal=4",
            "scal: is not a parameter of this request; there are scale, width, height, long_side, model, clean, "
            "format, effort, quality, ensemble, lossless, depth, color, metadata, frames and truncated",
        ),
    ],
)
async def test_invalid_parameters_are_refused_in_plain_words(
    client: httpx.AsyncClient, query: str, detail: str
) -> None:
    answer = await post(client, f"?{query}")
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)
    (parameter,) = answer.json()["parameters"]
    assert f"{parameter['name']}: {parameter['message']}" == detail


@pytest.mark.parametrize(("alias", "media_type"), [("jpg", "image/jpeg"), ("tif", "image/tiff")])
async def test_common_aliases_of_formats_are_accepted(client: httpx.AsyncClient, alias: str, media_type: str) -> None:
    assert (await post(client, f"?format={alias}")).headers["content-type"] == media_type


async def test_scale_8_is_refused_with_the_allowed_scales(client: httpx.AsyncClient) -> None:
    assert (await post(client, "?scale=8")).json()["detail"] == "scale: 8 is not served; allowed are 1 to 4."
    level = await client.get(f"/upscale?level=8&id={'A' * 32}")
    assert level.json()["detail"] == "level: 8 is not served; allowed are 2, 4."


async def test_scale_8_is_served_if_the_model_has_it(serve: Running) -> None:
    async with serve([lambda: FakeModel(scales=(2, 4, 8))]) as client:
        made = await post(client, "?scale=8")
        assert pictures.opened(made.content).shape == (48, 72)
        assert made.headers["link"].count("alternate") == 2


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "image/png"),
        ("", "image/webp", "image/webp"),
        ("", "image/webp;q=0.5, image/jpeg", "image/jpeg"),
        ("", "image/*;q=0.1, text/html", "image/png"),
        ("?format=tiff", "image/webp", "image/tiff"),
    ],
)
async def test_the_format_follows_the_query_and_accept(
    client: httpx.AsyncClient, query: str, accept: str, media_type: str
) -> None:
    answer = await post(client, query, headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["vary"] == "Accept"
    assert pictures.opened(answer.content).shape[:2] == (24, 36)


async def test_gray_with_a_profile_becomes_srgb_in_formats_without_gray(client: httpx.AsyncClient) -> None:
    file = io.BytesIO()
    linear = bytes(imagecodecs.cms_profile("gray", gamma=1.0))
    Image.new("L", (4, 4), 128).save(file, "PNG", icc_profile=linear)
    answer = await post(client, "?scale=2", file.getvalue(), headers={"accept": "image/webp"})
    image = Image.open(io.BytesIO(answer.content))
    assert "icc_profile" not in image.info
    assert image.getpixel((3, 3)) == (188, 188, 188)


def transparent() -> bytes:
    pixels = np.zeros((4, 5, 4), np.uint8)
    pixels[:, 2:, 3] = 255
    return pictures.png(pixels)


def animated() -> bytes:
    frames = [Image.fromarray(pictures.rgb(4, 5) // divisor) for divisor in (1, 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


WIDE = pictures.png(pictures.gray(1, 4100))


@pytest.mark.parametrize(
    ("body", "query", "accept", "media_type"),
    [
        (WIDE, "", "image/webp, */*;q=0.8", "image/png"),
        (WIDE, "", "image/webp, image/avif;q=0.9, image/jpeg;q=0.5", "image/jpeg"),
        (transparent(), "", "image/jpeg, image/webp;q=0.5", "image/webp"),
        (animated(), "&frames=all", "image/avif, image/jpeg, image/webp;q=0.1", "image/webp"),
        (animated(), "&frames=first", "image/avif, image/jpeg;q=0.9, image/webp;q=0.1", "image/avif"),
        (WIDE, "&quality=80", "image/webp, */*;q=0.8", "image/jpeg"),
    ],
    ids=["too wide", "too wide twice", "transparent", "animated", "one frame", "with a quality"],
)
async def test_the_first_accepted_format_that_can_hold_the_result_is_used(
    client: httpx.AsyncClient, body: bytes, query: str, accept: str, media_type: str
) -> None:
    answer = await post(client, f"?scale=4{query}", body, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


@pytest.mark.parametrize(
    ("body", "query", "accept", "says"),
    [
        (WIDE, "", "image/webp, image/avif;q=0.5", "webp holds at most 16383 pixels a side"),
        (transparent(), "", "image/jpeg", "jpeg can have none"),
        (WIDE, "&format=webp", "image/png", "webp holds at most 16383 pixels a side"),
        (transparent(), "&quality=80", "*/*", "quality is for lossy formats"),
    ],
    ids=["none can", "the only one cannot", "asked for by name", "parameters that do not fit"],
)
async def test_a_result_that_no_accepted_format_can_hold_is_422(
    client: httpx.AsyncClient, body: bytes, query: str, accept: str, says: str
) -> None:
    answer = await post(client, f"?scale=4{query}", body, headers={"accept": accept})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


async def test_accept_without_a_writable_format_is_406(client: httpx.AsyncClient) -> None:
    answer = await post(client, headers={"accept": "text/html, image/png;q=0"})
    assert answer.status_code == 406
    assert "image/webp" in answer.json()["detail"]


async def test_a_truncated_file_is_refused_unless_allowed(client: httpx.AsyncClient) -> None:
    whole = pictures.encoded(np.tile(pictures.rgb(40, 40), (4, 4, 1)), "JPEG")
    broken = whole[: len(whole) * 2 // 3]
    assert (await post(client, body=broken)).status_code == 422
    answer = await post(client, "?truncated=allow", body=broken)
    assert answer.status_code == 200
    assert answer.headers["x-upscale-truncated"] == "true"


async def test_a_result_too_large_to_keep_is_still_returned(serve: Running) -> None:
    async with serve(result_max_bytes=10) as client:
        answer = await post(client)
        assert answer.status_code == 200
        assert "x-upscale-id" not in answer.headers
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("query", "shape", "name"),
    [
        ("?scale=3", (18, 27), "x3"),
        ("?scale=1.5", (9, 14), "x1.5"),
        ("?scale=1", (6, 9), "x1"),
        ("?width=30", (20, 30), "30x20"),
        ("?height=7", (7, 11), "11x7"),
        ("?long_side=36", (24, 36), "36x24"),
        ("?width=20&height=100", (13, 20), "20x13"),
    ],
)
async def test_results_are_reduced_to_a_requested_size(
    client: httpx.AsyncClient, query: str, shape: tuple[int, int], name: str
) -> None:
    answer = await post(client, query)
    assert answer.status_code == 200, answer.text
    assert pictures.opened(answer.content).shape == shape
    assert f'filename="upscaled_{name}.png"' in answer.headers["Content-Disposition"]
    again = await client.get(answer.headers["Content-Location"])
    assert again.content == answer.content


async def test_a_requested_size_equal_to_a_level_gives_that_level(client: httpx.AsyncClient) -> None:
    sized, level = await post(client, "?width=18"), await post(client, "?scale=2")
    assert sized.content == level.content


async def test_the_level_computed_for_a_size_counts_towards_the_pixel_limit(serve: Running) -> None:
    async with serve(max_output_pixels=6 * 9 * 4) as client:
        assert (await post(client, "?width=18")).status_code == 200
        answer = await post(client, "?width=19")
        assert answer.status_code == 413
        assert "At scale 4 a picture of 9 x 6 becomes 864 pixels" in answer.json()["detail"]
