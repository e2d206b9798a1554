"""What is written in C runs in every way that this machine can run it."""

from collections.abc import Iterator

import pytest

from app.codec import native

NUMPY = "numpy"


@pytest.fixture(params=[*native.LIBRARIES, NUMPY])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the one library that is there, or that of none."""
    only = {request.param: native.LIBRARIES[request.param]} if request.param != NUMPY else {}
    monkeypatch.setattr(native, "LIBRARIES", only)
    native.library.cache_clear()
    if only and native.library() is None:
        pytest.skip(f"{request.param} is not compiled here, or not for this CPU")
    yield request.param
    native.library.cache_clear()
