"""clean=: what is applied, reported and refused, with a network that darkens what it cleans up."""

import io
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from bench.pictures import photograph
from tests import pictures
from tests.conftest import Running
from tests.fakes import FakeModel

TABLE = {kind: [(0, 1.0), (80, 1.0), (90, 0.5), (100, 0.0)] for kind in ("jpeg", "webp", "avif")}
TABLE |= {"noise": [(2, 0.25), (10, 1.0)], "area": [(0, 0.5)]}


def networks() -> list[FakeModel]:
    """One that cleans up, one that does not, the first at full strength, and one for x8."""
    return [
        FakeModel(name="cleans", strengths=TABLE),
        FakeModel(name="plain"),
        FakeModel(name="cleaner", strengths=TABLE, full_strength_of="cleans"),
        FakeModel(name="large", scales=(2, 4, 8)),
    ]


MODELS = [networks]
GRAY = Image.fromarray(np.full((9, 12, 3), 128, np.uint8))
"""Luma 126, of which clean-up leaves less."""


def saved(kind: str, picture: Image.Image = GRAY, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


async def post(client: httpx.AsyncClient, query: str, body: bytes) -> httpx.Response:
    return await client.post(f"/upscale{query}", content=body, headers={"Content-Type": "image/any"})


def brightness(answer: httpx.Response) -> float:
    assert answer.status_code == 200, answer.text
    return float(pictures.opened(answer.content)[..., :3].mean())


@pytest.mark.parametrize(
    ("body", "query", "told"),
    [
        (saved("PNG"), "", "0"),
        (saved("PNG"), "?clean=auto", "0"),
        (saved("PNG"), "?clean=0.5", "0.5"),
        (saved("PNG"), "?clean=0.3", "0.25"),
        (saved("PNG"), "?clean=1", "1"),
        (saved("JPEG", quality=90), "", "0.5; jpeg=90"),
        (saved("JPEG", quality=75), "?scale=2", "1; jpeg=75"),
        (saved("JPEG", quality=75), "?clean=0", "0"),
        (saved("JPEG", quality=75), "?model=cleans", "1; jpeg=75"),
        (saved("JPEG", quality=75), "?model=plain", "0"),
        (saved("JPEG", quality=75), "?scale=8", "0"),
        (saved("PNG"), "?model=cleaner", "1"),
        (saved("PNG"), "?model=cleaner&clean=1", "1"),
        (saved("JPEG", quality=100), "?model=cleaner&clean=auto", "1"),
        (saved("JPEG", quality=75), "?clean=0.5&quality=high", "0.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:3].hex(),
)
async def test_a_picture_is_cleaned_up_and_the_header_says_so(
    serve: Running, body: bytes, query: str, told: str
) -> None:
    async with serve(MODELS) as client:
        answer = await post(client, query, body)
        metrics = (await client.get("/metrics")).text
        plain = await post(client, "?clean=0", saved("PNG"))
        assert answer.headers["x-upscale-clean"] == told
        strength = float(told.partition(";")[0])
        # Luma, which begins at 16, is darkened by half at full strength.
        expected = (126 * (1 - strength / 2) - 16) * 255 / 219
        assert brightness(answer) == pytest.approx(expected, abs=2 if strength else 0.5)
        if not strength and "scale=8" not in query:
            assert answer.content == plain.content
    reason = told.partition("; ")[2].partition("=")[0] or ("asked" if "clean=0" in query or told != "0" else "nothing")
    counted = re.search(rf'lapsrn_clean_up_total{{reason="{reason}",strength="(.*?)"}} 1.0', metrics)
    assert counted is not None
    assert strength <= float(counted[1]) < strength + 0.25


async def test_compression_found_in_the_pixels_counts_too(serve: Running) -> None:
    photo = Image.fromarray(photograph(48, 64)).resize((128, 96), Image.Resampling.BICUBIC)  # its texture is no noise
    coded = Image.open(io.BytesIO(saved("JPEG", photo, quality=60)))
    async with serve(MODELS) as client:
        assert (await post(client, "", saved("PNG", photo))).headers["x-upscale-clean"] == "0"
        for body in (saved("PNG", coded), saved("JPEG", coded, quality=98)):
            assert (await post(client, "", body)).headers["x-upscale-clean"] == "1; grid=60"


async def test_noise_found_in_the_pixels_is_reported(serve: Running) -> None:
    noisy = np.clip(np.random.default_rng(0).normal(128, 12, (64, 64)), 0, 255).astype(np.uint8)
    async with serve(MODELS) as client:
        for body in (saved("PNG", Image.fromarray(noisy)), saved("JPEG", Image.fromarray(noisy), quality=95)):
            told = (await post(client, "", body)).headers["x-upscale-clean"]
            assert re.fullmatch(r"(0\.875|1); noise=(8|9|1\d)", told), told
        metrics = (await client.get("/metrics")).text
    assert re.search(r'lapsrn_clean_up_total\{reason="noise",strength="(1|1.0|0.75)"\} [12]', metrics)


async def test_every_level_of_a_result_reports_its_clean_up(serve: Running) -> None:
    async with serve(MODELS) as client:
        answer = await post(client, "", saved("JPEG", quality=90))
        for level in (2, 4):
            stored = await client.get(f"/upscale?level={level}&id={answer.headers['x-upscale-id']}")
            assert stored.headers["x-upscale-clean"] == "0.5; jpeg=90"
            assert brightness(stored) == pytest.approx(brightness(answer), abs=1)


async def test_results_of_different_strengths_have_different_etags(serve: Running) -> None:
    async with serve(MODELS) as client:
        tags = {(await post(client, f"?clean={strength}", saved("PNG"))).headers["etag"] for strength in (0, 0.5, 1)}
    assert len(tags) == 3


async def test_alpha_is_not_cleaned_up(serve: Running) -> None:
    picture = GRAY.convert("RGBA")
    picture.putalpha(100)
    async with serve(MODELS) as client:
        answer = await post(client, "?clean=1", saved("PNG", picture))
    assert (pictures.opened(answer.content)[..., 3] == 100).all()
    assert brightness(answer) < 100


async def test_a_finished_job_reports_its_clean_up(serve: Running) -> None:
    async with serve(MODELS) as client:
        body, headers = saved("JPEG", quality=90), {"Prefer": "respond-async", "Content-Type": "image/jpeg"}
        accepted = await client.post("/upscale", content=body, headers=headers)
        assert accepted.json()["clean"] is None
        events = (await client.get(f"{accepted.headers['location']}/events")).text
        document = (await client.get(accepted.headers["location"])).json()
    assert document["clean"] == "0.5; jpeg=90"
    assert '"clean":"0.5; jpeg=90"' in events.splitlines()[-2]


async def test_the_model_document_says_which_networks_clean_up(serve: Running) -> None:
    async with serve(MODELS) as client:
        models = (await client.get("/model")).json()["models"]
    assert {each["name"]: (each["clean"], each["full_strength_of"]) for each in models} == {
        "cleans": (True, ""),
        "plain": (False, ""),
        "cleaner": (True, "cleans"),
        "large": (False, ""),
    }


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("?clean=1.01", "clean: must be 0 to 1, or auto"),
        ("?clean=-0.5", "clean: must be 0 to 1, or auto"),
        ("?clean=nan", "clean: must be 0 to 1, or auto"),
        ("?clean=strong", "clean: must be 0 to 1, or auto"),
        ("?clean=", "clean: must be 0 to 1, or auto"),
        ("?clean=0.5&model=plain", "plain has no clean-up. Leave clean out, or choose another scale or model."),
        ("?clean=0.5&scale=8", "large has no clean-up."),
        ("?clean=0.5&model=cleaner", "model=cleaner is another name of clean=1."),
        ("?clean=0&model=cleaner", "or choose model=cleans."),
    ],
)
async def test_impossible_strengths_are_refused(serve: Running, query: str, complaint: str) -> None:
    async with serve(MODELS) as client:
        answer = await post(client, query, saved("PNG"))
    assert answer.status_code == 422
    assert complaint in answer.text


async def test_the_clean_up_header_is_exposed_to_listed_origins(serve: Running) -> None:
    async with serve(MODELS, cors_origins=("https://a.example",)) as client:
        answer = await client.get("/readyz", headers={"Origin": "https://a.example"})
    assert "X-Upscale-Clean" in answer.headers["access-control-expose-headers"]
