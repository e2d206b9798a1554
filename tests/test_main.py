"""Where the service cannot start, the line says what to change."""

import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest

from app.errors import StartupError
from app.main import listen, serve
from app.settings import Settings


@pytest.mark.parametrize(("arguments", "named"), [((), "LAPSRN_PORT or --port"), (("LAPSRN_X_PORT",), "LAPSRN_X_PORT")])
def test_a_port_in_use_is_reported_with_the_setting_to_change(arguments: tuple[str, ...], named: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as stopped:
            listen("127.0.0.1", port, *arguments)
    assert str(stopped.value) == (
        f"cannot listen on 127.0.0.1 port {port}: something listens there already; stop it, or choose another port "
        f"with {named}"
    )


@pytest.mark.parametrize("host", ["203.0.113.7", "a" * 64 + ".example"])
def test_an_address_of_another_machine_is_reported_with_the_setting_to_change(host: str) -> None:
    with pytest.raises(StartupError, match=rf"^cannot listen on {host} port 0: [^\n]*; set LAPSRN_HOST or --host to "):
        listen(host, 0)


def test_tracing_without_its_packages_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be on, and no span would go anywhere."""
    monkeypatch.setattr("app.main.logging.configure", lambda *_: None)
    monkeypatch.setattr("app.main.find_spec", lambda name: None if name == "opentelemetry.sdk" else find_spec(name))
    with pytest.raises(StartupError, match=r"^LAPSRN_TRACING: .*; install lapsrn\[tracing\]$"):
        serve(Settings(tracing=True, port=0))


def test_pinning_replicas_is_refused_on_systems_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.main.logging.configure", lambda *_: None)
    monkeypatch.setattr("app.main.cpu.CAN_PIN", False)
    with pytest.raises(StartupError, match=r"^LAPSRN_PIN_REPLICAS: this system cannot"):
        serve(Settings(pin_replicas=True, port=0))


_COUNTED = """
import gc
from app.api.draining_server import DrainingServer
from app.main import serve
from app.settings import Settings
from tests.fakes import FakeModel

async def count(server, sockets):
    print(gc.get_freeze_count(), len(gc.get_objects()))

DrainingServer.serve = count
serve(Settings(port=0, decode="inline", log_level="error"), [FakeModel])
"""


def test_full_garbage_collections_do_not_look_through_what_the_start_has_made() -> None:
    """They took 60 to 90 ms, in which the event loop stood still."""
    done = subprocess.run([sys.executable, "-c", _COUNTED], check=True, capture_output=True, text=True)
    skipped, looked_through = map(int, done.stdout.split())
    assert skipped > 4 * looked_through
