"""What an attack costs another client: the bench sees what is wrong, and nothing is."""

import pytest

from bench.chaos import bystander
from bench.chaos.bystander import Seen, attacked, promised, row


def test_times_above_the_promise_are_marked() -> None:
    alone = Seen("nothing", times=[0.1] * 20)
    assert promised(alone) == pytest.approx(1.3)
    assert row(Seen("x", times=[1.2] * 20), alone).endswith("| yes |")
    assert row(Seen("x", times=[1.2] * 18 + [1.4] * 2), alone).endswith("| no |")
    assert row(Seen("x", times=[1.2] * 20, wrong=["POST: 503"]), alone).endswith("| no |")


@pytest.mark.slow
@pytest.mark.server
async def test_a_bystander_gets_every_picture_during_an_attack(
    weights: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes; `python -m bench.chaos.bystander` has all attacks."""
    monkeypatch.setattr(bystander, "LEAST", 5)
    for seen in await attacked(["xmp", "headers", "jobs"], 0.0):
        assert (seen.wrong, len(seen.times) >= 5) == ([], True), seen.name
        assert seen.name == "nothing" or set(seen.attacker) & {200, 202, 431}, "the attack did not take place"
