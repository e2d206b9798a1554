"""Files are written while the network works, and what goes wrong meanwhile is not lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from app.api.threads import CodecThreads
from app.api.writing import Writing
from app.codec import Codec, Decoded, DecodeOptions, EncodeOptions, Encoding, Plane
from tests.codec.support import bicubic, codec, picture, saved


@pytest.fixture
async def threads() -> AsyncIterator[CodecThreads]:
    made = CodecThreads(2)
    yield made
    await made.close()


def case(service: Codec) -> tuple[Decoded, list[dict[int, Plane]]]:
    decoded = service.decode(saved(picture(600, 600, 3) // 8, "PNG"), DecodeOptions(scale=4))
    return decoded, [{level: bicubic(plane, level) for level in (2, 4)} for plane in decoded.frames[0].planes]


async def settled(writing: Writing) -> None:
    for _ in range(6000):
        if not writing.busy:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("still being written")


async def test_files_written_row_by_row_are_those_written_at_once(threads: CodecThreads) -> None:
    service = codec()
    decoded, outputs = case(service)
    right = {
        level: service.encode(decoded, [[planes[level] for planes in outputs]], level, EncodeOptions()).body
        for level in (2, 4)
    }
    writing = Writing(service, decoded, EncodeOptions(), threads)
    writing.advance(100, outputs)
    writing.advance(300, outputs)
    await settled(writing)
    outputs[0][4][: 4 * 256] = np.nan  # used up
    writing.advance(600, outputs)
    files = await writing.finish(outputs)
    assert {level: file.picture.body for level, file in files.items()} == right


class Failing(Codec):
    """A codec whose encodings fail when rows come."""

    def encoding(self, *arguments: Any) -> Encoding:
        made = super().encoding(*arguments)

        def advance(planes: object, rows: int) -> bool:
            raise MemoryError("no room for a band")

        made.advance = advance  # type: ignore[method-assign]
        return made


async def test_a_band_that_fails_fails_the_picture(threads: CodecThreads) -> None:
    service = codec()
    service.__class__ = Failing
    decoded, outputs = case(service)
    writing = Writing(service, decoded, EncodeOptions(), threads)
    writing.advance(300, outputs)
    await settled(writing)
    writing.advance(400, outputs)
    with pytest.raises(MemoryError, match="no room"):
        await writing.finish(outputs)


async def test_nothing_is_written_after_the_end(threads: CodecThreads) -> None:
    service = codec()
    decoded, outputs = case(service)
    writing = Writing(service, decoded, EncodeOptions(), threads)
    writing.advance(300, outputs)
    writing.close()
    await settled(writing)
    assert not writing.busy
