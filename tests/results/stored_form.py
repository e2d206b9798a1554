"""What is in Redis once one of each has been written, and the record of it: `python -m tests.results.stored_form`."""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from app.metrics import Metrics
from app.options import UpscaleOptions
from app.results import StoredPicture
from app.results.redis import RedisStore
from app.results.redis_link import FORM
from app.service.caller import Caller
from app.service.job_directory import JobDirectory
from app.service.job_snapshot import JobSnapshot, Made
from app.service.jobs import Jobs
from app.service.pipeline import Order, Pipeline
from app.service.repeats import Repeats, fingerprint
from bench.redis_server import RedisServer
from tests.service_process import free_port

RECORD = Path(__file__).with_suffix(".json")
ID, OWNER, KEY = "A" * 32, "owner", "a key"
LEVELS = {2: StoredPicture.of(b"twice", "image/png"), 4: StoredPicture.of(b"four times", "image/webp", "0.5; jpeg=90")}
JOB = JobSnapshot(
    version=7,
    id=ID,
    request_id="a request",
    state="done",
    done_tiles=3,
    total_tiles=3,
    seconds_left=None,
    levels=(2, 4),
    made=Made(model="lapsrn_x4", clean="0.5; jpeg=90", left_out=("exif",), truncated=False),
    error=None,
    webhook="delivered",
)
CALLER = Caller("ann", OWNER, 1, 0, admin=False)
ASKED = fingerprint(Order(UpscaleOptions(scale=2), "ann", OWNER, ID, "", None, ("webp", "png")), b"a picture")
_TIME = "a time"
_LEAST_TIME = 1e9
Written = dict[str, Any]
"""By key, a string, or the fields of a hash or a sorted set."""


def directory(store: RedisStore) -> JobDirectory:
    """Of a process that shares the store and has begun no job itself."""
    return JobDirectory(Jobs(Mock(spec=Pipeline), Metrics(CollectorRegistry()), 600, 10), store.board(600, 600))


def repeats(store: RedisStore) -> Repeats:
    """Of the same."""
    return Repeats(directory(store), store.board(600, 600), 10)


async def write(url: str) -> Written:
    """Writes one of each to an empty Redis; what is there then, with times left out."""
    store = RedisStore(url, 1 << 20, 600)
    board = store.board(600, 600)
    await store.put(ID, OWNER, LEVELS, CALLER.name)
    await board.show(ID, OWNER, JOB.model_dump_json())
    await board.show("cancelled", OWNER, JOB.model_dump_json())
    await board.cancel("cancelled", OWNER)
    await repeats(store).find(KEY, CALLER, ASKED, ID)
    await store.close()
    async with Redis.from_url(url, decode_responses=True) as redis:
        return {key: await _value(redis, key) for key in sorted(map(str, await redis.keys()))}


async def restore(url: str, written: Written) -> None:
    """Puts that into a Redis."""
    async with Redis.from_url(url) as redis:
        for key, value in written.items():
            if isinstance(value, str):
                await redis.set(key, value)
            elif _is_sorted(value):
                await redis.zadd(key, {name: time.time() + 600 if at == _TIME else at for name, at in value.items()})
            else:
                soon = round((time.time() + 600) * 1000)
                await redis.hset(key, mapping={name: soon if text == _TIME else text for name, text in value.items()})


async def _value(redis: Redis, key: str) -> Any:
    match await redis.type(key):
        case "zset":
            scores: Any = await redis.zrange(key, 0, -1, withscores=True)
            return {name: _TIME if score > _LEAST_TIME else score for name, score in scores}
        case "hash":
            fields: Any = await redis.hgetall(key)
            return {name: _TIME if name == "leased_until" else fields[name] for name in sorted(fields)}
        case _:
            return str(await redis.get(key))


def _is_sorted(value: dict[str, Any]) -> bool:
    return all(score == _TIME or isinstance(score, float) for score in value.values())


def recorded() -> tuple[int, list[Written]]:
    """The form, and what versions with it have written, the last one last."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record["form"], record["written"]


def main() -> None:
    """Adds what is written now to the record; with a new form, starts over."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(free_port(), Path(folder))
        server.start()
        try:
            now = asyncio.run(write(server.url))
        finally:
            server.stop()
    form, before = recorded()
    kept = before if form == FORM else []
    record = {"form": FORM, "written": kept if now in kept[-1:] else [*kept, now]}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
