"""What is written in C runs in every way that this machine can run it."""

from collections.abc import Iterator

import pytest

from app.codec import native

NUMPY = "numpy"


@pytest.fixture(params=[*native.LIBRARIES, NUMPY])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the one library that is there, or that of none."""
    yield from _only(request.param, monkeypatch)


@pytest.fixture(params=native.LIBRARIES)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same for what numpy does not do."""
    yield from _only(request.param, monkeypatch)


def _only(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(native, "LIBRARIES", {name: native.LIBRARIES[name]} if name != NUMPY else {})
    native.library.cache_clear()
    if name != NUMPY and native.library() is None:
        pytest.skip(f"{name} is not compiled here, or not for this CPU")
    yield name
    native.library.cache_clear()
