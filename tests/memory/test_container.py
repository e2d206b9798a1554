"""A real process under a real limit on its memory: what does not fit is refused, and nothing is killed."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.memory.memory_group import MemoryGroup
from tests.service_process import FAKE, Process, start

pytestmark = pytest.mark.server
LIMIT = 1536 << 20
SIDE = 2048


def noise(height: int = SIDE, width: int = SIDE) -> bytes:
    """What takes the most memory as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


async def all_at_once(url: str, count: int, data: bytes) -> list[int]:
    """The statuses of so many pictures at ×4, sent at the same moment."""
    headers = {"Content-Type": "image/png"}
    async with httpx.AsyncClient(timeout=600) as client:
        posts = (client.post(f"{url}/upscale?scale=4", content=data, headers=headers) for _ in range(count))
        return [answer.status_code for answer in await asyncio.gather(*posts)]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[Process, MemoryGroup]]:
    """The service in a group of its own, ready."""
    try:
        group = MemoryGroup(LIMIT).__enter__()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    settings = {"decode": "process", "max_input_pixels": str(SIDE**2)}
    process = start(tmp_path / "service.log", settings, FAKE, preexec=group.enter)
    try:
        process.get_ready()
        assert '"available": 1536' in process.log.read_text()
        yield process, group
    finally:
        process.kill()
        group.__exit__(None, None, None)


def test_concurrent_pictures_of_four_megapixels_are_upscaled_or_refused_within_the_limit(
    limited: tuple[Process, MemoryGroup],
) -> None:
    """Three of them take twice the limit; the one that is refused may come again."""
    process, group = limited
    statuses = asyncio.run(all_at_once(process.url, 3, noise()))
    assert 200 in statuses
    assert set(statuses) <= {200, 503}
    assert asyncio.run(all_at_once(process.url, 1, noise())) == [200]
    assert (group.kills, process.process.poll()) == (0, None)
    assert group.peak_bytes <= LIMIT


def test_very_wide_pictures_are_upscaled_or_refused_within_the_limit(limited: tuple[Process, MemoryGroup]) -> None:
    """All rows of one are in the band that is merged: four megapixels in a row would take all of the memory."""
    process, group = limited
    assert asyncio.run(all_at_once(process.url, 1, noise(1, SIDE**2))) == [413]
    statuses = asyncio.run(all_at_once(process.url, 3, noise(2, SIDE**2 // 8)))
    assert 200 in statuses
    assert set(statuses) <= {200, 503}
    assert (group.kills, process.process.poll()) == (0, None)
    assert group.peak_bytes <= LIMIT
