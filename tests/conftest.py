"""Fixtures for every test: the application on a fake network, a client of it, and the benchmark pictures."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from app.main import create_app
from app.service.service import Service
from app.settings import Settings
from bench.redis_server import RedisServer
from bench.servers import free_port
from tests.fakes import Build, FakeModel, results_as_planes_say, worker

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights" / "lapsrn_x4.safetensors"

Running = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


HERE = "localhost,127.0.0.1,::1"


def pytest_configure() -> None:
    """Settles how hypothesis runs, and keeps what is started on this machine from being looked for through a proxy.

    Others are kept, as packages may come through them; but httpx takes none for SOCKS.
    """
    # The same examples in every run, however slow the machine is at the moment.
    settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tests")
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = f"{os.environ[name]},{HERE}" if os.environ.get(name) else HERE
    for name, value in list(os.environ.items()):
        if name.lower() in ("all_proxy", "http_proxy", "https_proxy") and value.startswith("socks"):
            del os.environ[name]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own LAPSRN_* variables must not change what tests see.

    Decoder processes take a second to start, so only tests that ask for them, and those of the real service, have them.
    """
    for name in [name for name in os.environ if name.startswith("LAPSRN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAPSRN_DECODE", "inline")


@pytest.fixture(autouse=True)
def _amx_or_its_emulation(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test of a backend that is AMX runs on this CPU's own, or else on amx.c emulated."""
    parameters = getattr(request.node, "callspec", None)
    if parameters is None or parameters.params.get("backend") != "amx":
        yield
        return
    from tests.model.backends import emulation

    if reason := emulation.why_not():
        pytest.skip(reason)
    with emulation.wherever_it_runs():
        yield


@pytest.fixture(scope="session")
def bench_dir() -> Path:
    """The folder with Set5 and Set14, each with HR, LRx2 and LRx4."""
    folder = ROOT.parent / "shared" / "data" / "bench"
    if not folder.is_dir():
        pytest.skip("the benchmark pictures are not on this machine")
    return folder


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis; skips if none is installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(free_port(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def pictures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result takes as many bytes in a store as its pictures have."""
    monkeypatch.setattr("app.results.base.RECORD_BYTES", 0)


@pytest.fixture
def written_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """PNGs of more than 2 MiB of samples are written in bands, where it otherwise takes 16 MiB."""
    monkeypatch.setattr("app.codec.writers.png._WHOLE", 2 << 20)
    monkeypatch.setattr("app.codec.writers.png._STRIP", 1 << 17)


@pytest.fixture(scope="session")
def weights() -> Path:
    """The weights that the service ships with."""
    if not WEIGHTS.is_file():
        pytest.skip("weights/lapsrn_x4.safetensors is not there")
    return WEIGHTS


class AppClient(httpx.AsyncClient):
    """A client of an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(transport=httpx.ASGITransport(app, client=("192.0.2.1", 40000)), base_url="http://test")
        self.app = app


@asynccontextmanager
async def running(app: FastAPI, ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """The application between its start and its stop, with a client; `ready` waits until the network is warm."""
    async with app.router.lifespan_context(app):
        service: Service = app.state.service
        if ready:
            await service.warmed()
        async with AppClient(app) as client:
            yield client


@pytest.fixture
def serve() -> Running:
    """Runs the application on fake networks; keyword arguments are settings."""

    def start(
        models: Sequence[Build] = (FakeModel,), ready: bool = True, **settings: Any
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        with results_as_planes_say():
            app = create_app(Settings(**settings), [worker(build) for build in models])
        return running(app, ready)

    return start


@pytest.fixture
async def client(serve: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with default settings."""
    async with serve() as started:
        yield started


@pytest.fixture
def app(client: httpx.AsyncClient) -> FastAPI:
    """The application behind `client`."""
    return app_of(client)


def app_of(client: httpx.AsyncClient) -> FastAPI:
    """The application behind a client of `running`."""
    assert isinstance(client, AppClient)
    return client.app


def service_of(client: httpx.AsyncClient) -> Service:
    """The service behind a client of `running`."""
    service = app_of(client).state.service
    assert isinstance(service, Service)
    return service


async def until(condition: Callable[[], object]) -> None:
    """Waits for `condition`, at most ten seconds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("what the test waits for did not happen")
