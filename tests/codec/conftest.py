"""Fixtures that run code with an implementation in C in every way that this machine supports."""

from collections.abc import Iterator

import pytest

from app.codec import native

NUMPY = "numpy"


@pytest.fixture
def loaded_anew() -> Iterator[None]:
    """Makes the test, and the one after it, look for the library again."""
    native.library.cache_clear()
    yield
    native.library.cache_clear()


@pytest.fixture(params=[*native.LIBRARIES, NUMPY])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> str:
    """The name of the only library made available, or `NUMPY` for none."""
    return _only(request.param, monkeypatch)


@pytest.fixture(params=native.LIBRARIES)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, loaded_anew: None) -> str:
    """The same for functions without a numpy version."""
    return _only(request.param, monkeypatch)


def _only(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(native, "LIBRARIES", {name: native.LIBRARIES[name]} if name != NUMPY else {})
    if name != NUMPY and native.library() is None:
        pytest.skip(f"{name} is not compiled here, or not for this CPU")
    return name
