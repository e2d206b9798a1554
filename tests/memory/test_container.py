"""A real process under a real limit on its memory: what does not fit is refused, and nothing is killed."""

import asyncio
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.memory.memory_group import MemoryGroup
from tests.service_process import FAKE, start

pytestmark = pytest.mark.server
LIMIT = 1536 << 20
SIDE = 2048


def noise() -> bytes:
    """What takes the most memory as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


async def all_at_once(url: str, count: int) -> list[int]:
    """The statuses of so many pictures of four megapixels at ×4, sent at the same moment."""
    data, headers = noise(), {"Content-Type": "image/png"}
    async with httpx.AsyncClient(timeout=600) as client:
        posts = (client.post(f"{url}/upscale?scale=4", content=data, headers=headers) for _ in range(count))
        return [answer.status_code for answer in await asyncio.gather(*posts)]


def test_concurrent_pictures_of_four_megapixels_are_upscaled_or_refused_within_the_limit(tmp_path: Path) -> None:
    """Three of them take twice the limit; the one that is refused may come again."""
    try:
        group = MemoryGroup(LIMIT).__enter__()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    process = start(
        tmp_path / "service.log", {"decode": "process", "max_input_pixels": str(SIDE**2)}, FAKE, preexec=group.enter
    )
    try:
        process.get_ready()
        assert '"available": 1536' in process.log.read_text()
        statuses = asyncio.run(all_at_once(process.url, 3))
        assert 200 in statuses
        assert set(statuses) <= {200, 503}
        assert asyncio.run(all_at_once(process.url, 1)) == [200]
        assert (group.kills, process.process.poll()) == (0, None)
        assert group.peak_bytes <= LIMIT
    finally:
        process.kill()
        group.__exit__(None, None, None)
