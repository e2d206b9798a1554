"""A working directory that is gone, no folder for sockets, few open files, and a proxy."""

import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.request import proxy_bypass

import httpx
import pytest

from app import main
from app.codec import decoder_child
from app.errors import StartupError
from app.process import open_files
from bench.redis_server import RedisServer
from tests import pictures
from tests.api.test_replicas import children, gone, until
from tests.service_process import REAL, Process, start

PNG = pictures.png(pictures.rgb(8, 8))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A working directory to be deleted."""
    before = Path.cwd()
    (tmp_path / "work").mkdir()
    yield tmp_path / "work"
    os.chdir(before)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tests_reach_their_own_servers_without_a_proxy(host: str) -> None:
    """tests/conftest.py ensures this for developers whose environment names one."""
    assert proxy_bypass(f"{host}:8000")


def test_relative_import_paths_are_dropped_once_the_working_directory_is_gone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "relative"])
    os.chdir(directory)
    assert str(directory / "relative") in decoder_child._import_path()
    directory.rmdir()
    assert "relative" not in " ".join(decoder_child._import_path())


@pytest.mark.server
def test_a_service_starts_in_a_deleted_working_directory(directory: Path) -> None:
    service = start(directory.parent / "log", {}, REAL, preexec=partial(_into_nowhere, directory))
    try:
        service.get_ready()
        assert httpx.post(f"{service.url}/upscale", files={"image": PNG}, timeout=60).status_code == 200
    finally:
        service.kill()


@pytest.mark.server
def test_replicas_and_decoders_are_replaced_after_the_working_directory_was_deleted(
    directory: Path, redis_server: RedisServer
) -> None:
    settings = {"replicas": "2", "redis_url": redis_server.url}
    service = start(directory.parent / "log", settings, REAL, preexec=partial(os.chdir, directory))
    try:
        service.get_ready()
        until(lambda: len(children(service)) == 2)
        directory.rmdir()
        killed = children(service)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(map(gone, killed)) and len(children(service)) == 2)
        until(partial(_answers, service))
    finally:
        service.signal(signal.SIGTERM)
        service.wait()


def _into_nowhere(directory: Path) -> None:
    os.chdir(directory)
    shutil.rmtree(directory)


def _answers(service: Process) -> bool:
    try:
        return httpx.post(f"{service.url}/upscale", files={"image": PNG}, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.server
@pytest.mark.parametrize("limit", [16, 63])
def test_too_few_open_files_give_one_line_and_exit_status_2(tmp_path: Path, limit: int) -> None:
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, limit))
    service = start(tmp_path / "log", {}, REAL, preexec=few)
    assert service.wait() == 2
    says = f"lapsrn: only {limit} files may be open at once, and 64 are needed: raise `ulimit -n`\n"
    assert service.log.read_text() == says


@pytest.mark.parametrize("name", ["none", 110 * "x"])
def test_a_missing_folder_for_replica_sockets_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """There is no writable one, or its path is longer than a socket path may be."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    if name != "none":
        (tmp_path / name).mkdir()
    with (
        pytest.raises(StartupError, match=r"^replicas need a folder for their sockets \(.*\); name one in TMPDIR$"),
        main._folder_for_sockets(),
    ):
        raise AssertionError("there is none")
    assert not [*tmp_path.glob("*/lapsrn-*")]


@pytest.mark.server
def test_the_service_works_with_the_least_number_of_open_files(tmp_path: Path) -> None:
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (16, open_files.LEAST))
    service = start(tmp_path / "log", {}, REAL, preexec=few)
    try:
        service.get_ready()
        for _ in range(5):
            assert httpx.post(f"{service.url}/upscale", files={"image": PNG}, timeout=60).status_code == 200
    finally:
        service.kill()


def test_a_low_soft_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (16, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: raised.append(pair))
    open_files.require()
    assert raised == [(open_files.LEAST, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: (16, 32))
    with pytest.raises(StartupError, match="only 32 files"):
        open_files.require()
