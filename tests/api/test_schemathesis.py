"""Schemathesis drives the live service from its own OpenAPI document."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.main import create_app
from app.settings import Settings
from tests import pictures
from tests.fakes import FakeModel, worker

pytestmark = [pytest.mark.slow, pytest.mark.server]

PICTURES = [
    pictures.png(pictures.gray(3, 4)),
    pictures.png(pictures.rgb(5, 2)),
    pictures.encoded(pictures.rgb(4, 4), "JPEG"),
    pictures.encoded(pictures.rgb(4, 4), "WEBP"),
    pictures.encoded(pictures.gray(2, 2), "TIFF"),
]


@schemathesis.serializer("image/*")
def _raw_picture(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


schemathesis.openapi.format("binary", st.one_of(st.sampled_from(PICTURES), st.binary(max_size=64)))


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    """The service on a fake network, on a real socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_app(Settings(client_max_concurrent=1000, body_idle_seconds=2.0), [worker(FakeModel)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    while not server.started or httpx.get(f"{url}/readyz").status_code != 200:
        time.sleep(0.05)
    yield url
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(scope="module")
def api(live: str) -> Any:
    return schemathesis.openapi.from_url(f"{live}/openapi.json")


OPERATIONS = [
    ("/upscale", "POST"),
    ("/upscale", "GET"),
    ("/upscale", "DELETE"),
    ("/jobs/{job_id}", "GET"),
    ("/jobs/{job_id}", "DELETE"),
    ("/jobs/{job_id}/events", "GET"),
    ("/model", "GET"),
    ("/admin/reload", "POST"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
]


WITH_PARAMETERS = OPERATIONS[:6]


def drive(api: Any, path: str, method: str, mode: Any) -> None:
    """Sends what the document allows, or does not, and compares each answer with the document."""

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        # A picture must also decode, and GET needs an id or a cookie: the schema language cannot say so.
        case.call_and_validate(timeout=30, excluded_checks=[positive_data_acceptance])

    check()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_valid_requests_get_documented_responses(api: Any, path: str, method: str) -> None:
    drive(api, path, method, GenerationMode.POSITIVE)


@pytest.mark.parametrize(("path", "method"), WITH_PARAMETERS)
def test_invalid_requests_get_documented_responses(api: Any, path: str, method: str) -> None:
    drive(api, path, method, GenerationMode.NEGATIVE)


def test_every_operation_is_tested(api: Any) -> None:
    found = [(result.ok().path, result.ok().method.upper()) for result in api.get_all_operations()]
    assert sorted(found) == sorted(OPERATIONS)
