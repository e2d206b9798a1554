"""Deep companions over HTTP: which network computes a picture, how that is reported, and what is refused."""

import httpx
import pytest
from PIL import Image

from tests.api.test_clean_up import GRAY, TABLE, brightness, saved
from tests.api.test_upscale import post
from tests.conftest import Running
from tests.fakes import FakeModel

PNG = saved("PNG")
JPEG = saved("JPEG", quality=90)


def networks() -> list[FakeModel]:
    """A network for x4 with a companion that cleans up, a network for x8 without one, and full strength."""
    return [
        FakeModel(name="x4"),
        FakeModel(name="x8", scales=(2, 4, 8)),
        FakeModel(name="deep", deep_of="x4", strengths=TABLE),
        FakeModel(name="end", full_strength_of="deep", strengths=TABLE),
    ]


@pytest.mark.parametrize(
    ("body", "query", "model", "clean", "passes"),
    [
        (PNG, "", "x4", "0", 1),
        (PNG, "?quality=90&format=jpeg", "x4", "0", 1),
        (PNG, "?quality=medium", "x4", "0", 2),
        (PNG, "?quality=high", "deep", "0", 2),
        (PNG, "?quality=best", "deep", "0", 8),
        (PNG, "?ensemble=true&quality=90&format=jpeg", "deep", "0", 8),
        (JPEG, "", "deep", "0.5; jpeg=90", 1),
        (JPEG, "?quality=medium", "deep", "0.5; jpeg=90", 2),
        (JPEG, "?quality=high", "deep", "0.5; jpeg=90", 2),
        (JPEG, "?scale=1.5", "deep", "0.5; jpeg=90", 1),
        (JPEG, "?clean=0", "x4", "0", 1),
        (PNG, "?clean=0.25", "deep", "0.25", 1),
        (PNG, "?model=end", "end", "1", 1),
        (PNG, "?model=end&quality=high", "end", "1", 2),
        (JPEG, "?model=deep", "deep", "0.5; jpeg=90", 1),
        (PNG, "?model=deep&clean=0", "deep", "0", 1),
        (PNG, "?model=deep&quality=high", "deep", "0", 2),
        (JPEG, "?model=x4", "deep", "0.5; jpeg=90", 1),
        (JPEG, "?scale=8", "x8", "0", 1),
        (PNG, "?scale=8&quality=medium", "x8", "0", 2),
        (PNG, "?scale=8&quality=best", "x8", "0", 8),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_which_network_computes_a_picture(
    serve: Running, body: bytes, query: str, model: str, clean: str, passes: int
) -> None:
    made = networks()
    async with serve([lambda: made]) as client:
        answer = await post(client, query, body)
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-upscale-model"], answer.headers["x-upscale-clean"]) == (model, clean)
    runs = "deep" if model == "end" else model
    tiles = {each.info.name: each.tiles_run for each in made if each.tiles_run}
    assert tiles == {runs: passes}
    if not passes > 1 and "format" not in query:
        darker = 1 - float(clean.partition(";")[0]) / 2
        assert brightness(answer) == pytest.approx((126 * darker - 16) * 255 / 219, abs=2)


async def test_alpha_is_computed_by_the_network_that_computes_luma(serve: Running) -> None:
    made, picture = networks(), GRAY.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    async with serve([lambda: made]) as client:
        assert (await post(client, "?clean=1", saved("PNG", picture))).status_code == 200
    assert {each.info.name: each.tiles_run for each in made if each.tiles_run} == {"deep": 2}


async def test_a_job_reports_which_network_computed_it(serve: Running) -> None:
    async with serve([networks]) as client:
        headers = {"Prefer": "respond-async", "Content-Type": "image/jpeg"}
        accepted = await client.post("/upscale?quality=high", content=JPEG, headers=headers)
        await client.get(f"{accepted.headers['location']}/events")
        document = (await client.get(accepted.headers["location"])).json()
    assert (document["model"], document["clean"]) == ("deep", "0.5; jpeg=90")


async def test_the_model_document_says_whose_companion_a_network_is(serve: Running) -> None:
    async with serve([networks]) as client:
        models = (await client.get("/model")).json()["models"]
    assert {each["name"]: (each["clean"], each["deep_of"]) for each in models} == {
        "x4": (True, ""),
        "x8": (False, ""),
        "deep": (True, "x4"),
        "end": (True, ""),
    }


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("?clean=0.5&scale=8", "x8 has no clean-up. Leave clean out, or choose another scale or model."),
        ("?clean=0.5&model=end", "or choose model=deep."),
        ("?scale=8&model=deep", "scale: 8 is not served by deep; allowed are 1 to 4."),
    ],
)
async def test_impossible_combinations_of_network_and_effort_are_refused(
    serve: Running, query: str, complaint: str
) -> None:
    async with serve([networks]) as client:
        answer: httpx.Response = await post(client, query, PNG)
    assert answer.status_code == 422
    assert complaint in answer.text
