"""Of many requests that come at once a few of each client begin in one round of the event loop."""

import asyncio

from app.api.entrance import AT_ONCE, Entrance


async def begin(entrance: Entrance, client: str, began: list[str]) -> None:
    await entrance.enter(client)
    began.append(client)


async def test_a_newcomer_begins_before_the_rest_of_a_crowd() -> None:
    entrance = Entrance()
    began: list[str] = []
    crowd = [asyncio.create_task(begin(entrance, "ann", began)) for _ in range(20 * AT_ONCE)]
    await asyncio.sleep(0)
    assert began == ["ann"] * AT_ONCE
    await begin(entrance, "bob", began)
    assert began.count("ann") <= 2 * AT_ONCE
    await asyncio.gather(*crowd)
    assert began.count("ann") == len(crowd)


async def test_who_leaves_takes_nobodys_turn_and_all_is_forgotten() -> None:
    entrance = Entrance()
    began: list[str] = []
    crowd = [asyncio.create_task(begin(entrance, "ann", began)) for _ in range(10 * AT_ONCE)]
    await asyncio.sleep(0)
    for task in crowd[AT_ONCE : 9 * AT_ONCE]:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert len(began) == 2 * AT_ONCE
    for _ in range(3):
        await asyncio.sleep(0)
    assert not entrance._waiting
    assert not entrance._begun
    await begin(entrance, "ann", began)
