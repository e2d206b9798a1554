"""Several networks behind one address: which one a request gets, what says so, and what is refused."""

import httpx
import numpy as np
import pytest

from tests import pictures
from tests.conftest import Running
from tests.fakes import FakeModel

PNG = pictures.png(pictures.gray())


def three() -> list[FakeModel]:
    """A x4 network with a x8 one and another x4 one beside it."""
    return [FakeModel(), FakeModel((2, 4, 8), name="fake_x8"), FakeModel(name="fake_x4_jpeg", purpose="Clean up")]


@pytest.mark.parametrize(
    ("query", "name", "scale"),
    [
        ("", "fake_x4", 4),
        ("?scale=2", "fake_x4", 2),
        ("?scale=8", "fake_x8", 8),
        ("?model=fake_x4_jpeg", "fake_x4_jpeg", 4),
        ("?scale=2&model=fake_x8", "fake_x8", 2),
    ],
)
async def test_a_request_gets_the_named_model_or_else_the_first_with_its_scale(
    serve: Running, query: str, name: str, scale: int
) -> None:
    async with serve([three]) as client:
        answer = await client.post(f"/upscale{query}", files={"image": PNG})
        assert answer.status_code == 200
        assert answer.headers["x-upscale-model"] == name
        expected = pictures.gray().repeat(scale, axis=0).repeat(scale, axis=1)
        np.testing.assert_array_equal(pictures.opened(answer.content), expected)


async def test_every_level_of_a_pass_at_8_can_be_fetched(serve: Running) -> None:
    async with serve([three]) as client:
        made = await client.post("/upscale?scale=8", files={"image": PNG})
        for level in (2, 4, 8):
            got = await client.get(f"/upscale?level={level}&id={made.headers['x-upscale-id']}")
            assert pictures.opened(got.content).shape == tuple(level * side for side in pictures.gray().shape)
        small = await client.post("/upscale?scale=4", files={"image": PNG})
        missing = await client.get(f"/upscale?level=8&id={small.headers['x-upscale-id']}")
        assert missing.status_code == 404


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("?model=nothing", "there is no model 'nothing' here; there are fake_x4, fake_x8, fake_x4_jpeg"),
        ("?scale=8&model=fake_x4", "scale: 8 is not served by fake_x4; allowed are 1 to 4."),
    ],
)
async def test_unknown_models_and_scales_are_refused_before_the_body_is_read(
    serve: Running, query: str, complaint: str
) -> None:
    async with serve([three]) as client:
        answer = await client.post(f"/upscale{query}", content=b"not a picture", headers={"content-type": "image/png"})
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:lapsrn:problem:bad-parameter"
        assert complaint in answer.json()["detail"]


async def test_jobs_accept_a_model(serve: Running) -> None:
    async with serve([three]) as client:
        begun = await client.post("/upscale?scale=8", files={"image": PNG}, headers={"prefer": "respond-async"})
        assert begun.status_code == 202
        async with client.stream("GET", begun.headers["location"] + "/events") as events:
            text = "".join([part async for part in events.aiter_text()])
        assert '"done"' in text
        assert "level=8" in text


async def test_the_model_document_lists_all_networks(serve: Running) -> None:
    async with serve([three]) as client:
        document: httpx.Response = await client.get("/model")
        found = document.json()
        assert (found["name"], found["levels"]) == ("fake_x4", [2, 4])
        metrics = (await client.get("/metrics")).text
        for name in ("fake_x4", "fake_x8", "fake_x4_jpeg"):
            assert f'lapsrn_model_info{{device="cpu",dtype="float32",name="{name}",sha256=""}} 1.0' in metrics
        assert [(each["name"], each["levels"], each["purpose"]) for each in found["models"]] == [
            ("fake_x4", [2, 4], ""),
            ("fake_x8", [2, 4, 8], ""),
            ("fake_x4_jpeg", [2, 4], "Clean up"),
        ]
