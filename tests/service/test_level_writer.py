"""Files are written while the network works, and what goes wrong meanwhile is not lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from app.codec import Codec, Decoded, DecodeLimits, StreamEncoder
from app.codec.consistency import LOOKBACK
from app.engine import Outputs
from app.service.codec_threads import CodecThreads
from app.service.level_writer import LevelWriter
from tests.codec.support import FORMULAS, bicubic, codec, picture, saved, wanted


@pytest.fixture
async def threads() -> AsyncIterator[CodecThreads]:
    made = CodecThreads(2)
    yield made
    await made.close()


def case(service: Codec) -> tuple[Decoded, Outputs]:
    decoded = service.decode(saved(picture(600, 600, 3) // 8, "PNG"), wanted(scale=4))
    return decoded, Outputs({level: bicubic(plane, level) for level in (2, 4)} for plane in decoded.frames[0].planes)


async def settled(writer: LevelWriter) -> None:
    for _ in range(6000):
        if not writer.busy:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("still being written")


async def test_files_written_in_bands_equal_those_written_at_once(threads: CodecThreads) -> None:
    service = codec(consistent=True)
    decoded, outputs = case(service)
    right = {
        level: service.encode(decoded, [[planes[level] for planes in outputs]], level, wanted()).body
        for level in (2, 4)
    }
    writer = LevelWriter(service, decoded, wanted(), (2, 4), threads)
    writer.advance(100, outputs)
    writer.advance(300, outputs)
    await settled(writer)
    outputs[0][4][: 4 * (256 - LOOKBACK)] = np.nan  # used up
    writer.advance(600, outputs)
    files = await writer.finish(outputs)
    assert {level: file.body for level, file in files.items()} == right


class Failing(Codec):
    """A codec whose encoders fail when rows come."""

    def encoder(self, *arguments: Any) -> StreamEncoder:
        made = super().encoder(*arguments)

        def advance(planes: object, rows: int) -> bool:
            raise MemoryError("no room for a band")

        made.advance = advance  # type: ignore[method-assign]
        return made


async def test_a_failed_band_fails_the_picture(threads: CodecThreads) -> None:
    service = Failing(FORMULAS, DecodeLimits(), threads=1)
    decoded, outputs = case(service)
    writer = LevelWriter(service, decoded, wanted(), (2, 4), threads)
    writer.advance(300, outputs)
    await settled(writer)
    writer.advance(400, outputs)
    with pytest.raises(MemoryError, match="no room"):
        await writer.finish(outputs)


async def test_nothing_is_written_after_close(threads: CodecThreads) -> None:
    service = codec()
    decoded, outputs = case(service)
    writer = LevelWriter(service, decoded, wanted(), (2, 4), threads)
    writer.advance(300, outputs)
    writer.close()
    await settled(writer)
    assert not writer.busy


async def test_only_the_requested_levels_are_written(threads: CodecThreads) -> None:
    service = codec()
    decoded, outputs = case(service)
    right = service.encode(decoded, [[planes[2] for planes in outputs]], 2, wanted()).body
    writer = LevelWriter(service, decoded, wanted(), (2,), threads)
    writer.advance(300, outputs)
    await settled(writer)
    files = await writer.finish(outputs)
    assert {level: file.body for level, file in files.items()} == {2: right}
