"""What an operator can predict: from the memory there is to every limit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import StartupError
from app.memory import Available, Base, Division, divided, fitted
from app.settings import Settings

MIB = 1 << 20
BASE = Base(networks=100 * MIB, decoders=2, codec_threads=1)  # 420 MiB in all


def division(mebibytes: int, base: Base = BASE, **settings: Any) -> Division:
    memory = Available(mebibytes * MIB, "the container's limit")
    return divided(fitted(Settings(**settings), memory, base), memory, base)


@pytest.mark.parametrize(
    ("mebibytes", "decoding", "bodies", "answers", "results", "pictures"),
    [
        (1024, 135, 32, 33, 33, 305),
        (2048, 375, 70, 93, 93, 867),
        (4096, 768, 165, 221, 221, 2044),
        (8192, 768, 256, 512, 512, 4096),
        (65536, 768, 256, 512, 512, 4096),
    ],
)
def test_limits_by_memory(
    mebibytes: int, decoding: int, bodies: int, answers: int, results: int, pictures: int
) -> None:
    found = division(mebibytes).mebibytes()
    assert (found["reserve"], found["base"]) == (mebibytes // 16, 420)
    names = ("decoding", "bodies", "answers", "results", "pictures")
    assert tuple(found[name] for name in names) == (decoding, bodies, answers, results, pictures)


SIZES = st.integers(1, 4096).map(lambda mebibytes: mebibytes * MIB)


@given(
    st.integers(256, 65536),
    st.fixed_dictionaries(
        {},
        optional={
            "max_queue_bytes": SIZES,
            "result_max_bytes": SIZES,
            "max_answer_bytes_in_flight": SIZES,
            "max_body_bytes_in_flight": SIZES,
            "max_input_pixels": st.integers(1, 2**26),
        },
    ),
    st.builds(Base, st.integers(0, 2**30), st.integers(0, 8), st.integers(1, 8), st.booleans()),
)
def test_for_any_settings_the_parts_fit_or_the_start_is_refused(
    mebibytes: int, settings: dict[str, Any], base: Base
) -> None:
    memory = Available(mebibytes * MIB, "the container's limit")
    try:
        found = fitted(Settings(**settings), memory, base)
    except StartupError as error:
        assert "\n" not in str(error)
        return
    each = divided(found, memory, base)
    parts = (each.reserve, each.base, each.decoding, each.bodies, each.answers, each.results, each.pictures)
    assert sum(parts) <= memory.bytes
    assert min(parts) >= 0
    assert {name: getattr(found, name) for name in settings} == settings


def test_a_limit_that_is_set_leaves_less_for_the_others() -> None:
    assert division(2048, result_max_bytes=400 * MIB).results == 400 * MIB
    assert division(2048, result_max_bytes=400 * MIB).pictures < division(2048).pictures - 200 * MIB


def test_the_limit_on_one_body_does_not_exceed_that_on_all_bodies() -> None:
    """Otherwise a body within the announced limit could always be a 503."""
    memory = Available(2048 * MIB, "the container's limit")
    assert fitted(Settings(max_body_bytes_in_flight=5 * MIB), memory, BASE).max_input_bytes == 5 * MIB
    assert fitted(Settings(), memory, BASE).max_input_bytes == 32 * MIB


def test_results_in_redis_take_no_memory_of_the_service() -> None:
    found = division(2048, redis_url="redis://127.0.0.1/0", result_max_bytes=2**40)
    assert found.results == 0
    assert found.pictures > division(2048).pictures


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "LAPSRN_MORE_WEIGHTS=none or a smaller LAPSRN_CPU_WORKERS or LAPSRN_CODEC_THREADS, or"),
        ({"replicas": 2, "redis_url": "redis://127.0.0.1/0"}, "a smaller LAPSRN_REPLICAS, or"),
        ({"result_max_bytes": 1 << 30}, "LAPSRN_RESULT_MAX_BYTES=1073741824"),
        ({"max_queue_bytes": 1 << 30}, "LAPSRN_MAX_QUEUE_BYTES=1073741824"),
        ({"max_input_pixels": 1 << 26}, "LAPSRN_MAX_INPUT_PIXELS=67108864"),
    ],
)
def test_settings_that_cannot_fit_are_refused_with_what_to_change(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(StartupError) as refused:
        division(480, **settings)
    text = str(refused.value)
    assert told in text
    assert "480 MiB" in text
    assert "\n" not in text


def test_the_largest_picture_shrinks_with_the_memory() -> None:
    memory = Available(700 * MIB, "")
    assert fitted(Settings(), memory, BASE).max_input_pixels < 2**22
    assert fitted(Settings(max_input_pixels=1000), memory, BASE).max_input_pixels == 1000
