"""A real nginx or HAProxy on loopback in front of services, with a configuration as plain as people write it."""

import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.service_process import free_port

_CONFIGURATION = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    {locations}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, locations: str) -> Iterator[str]:
    """The address of an nginx with these `location` blocks; skips if none is installed."""
    binary = shutil.which("nginx")
    if binary is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, locations=locations))
    process = subprocess.Popen([binary, "-p", str(folder), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for_port(port: int) -> None:
    """Until something listens there, at most ten seconds."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


_BALANCER = """
global
  maxconn 200
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 10s
frontend all
  bind 127.0.0.1:{port}
  stats enable
  stats uri /stats
  default_backend services
{backend}
"""
_BACKEND = """
backend services
  option httpchk GET /readyz
  default-server check inter 100ms fall 1 rise 1
{servers}
"""


@dataclass(frozen=True)
class Balancer:
    """HAProxy: its address, and which services it takes to be ready."""

    url: str

    def up(self) -> set[str]:
        rows = csv.DictReader(httpx.get(f"{self.url}/stats;csv").text.removeprefix("# ").splitlines())
        return {row["svname"] for row in rows if row["type"] == "2" and row["status"].startswith("UP")}


@contextmanager
def haproxy(folder: Path, ports: Mapping[str, int]) -> Iterator[Balancer]:
    """A balancer that asks each service's readiness, and tries nothing twice; skips if none is installed."""
    servers = "\n".join(f"  server {name} 127.0.0.1:{port}" for name, port in ports.items())
    with haproxy_to(folder, _BACKEND.format(servers=servers)) as balancer:
        yield balancer


@contextmanager
def haproxy_to(folder: Path, backend: str) -> Iterator[Balancer]:
    """HAProxy with this backend, which is named "services"; skips if none is installed."""
    binary = shutil.which("haproxy")
    if binary is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_BALANCER.format(port=port, backend=backend))
    process = subprocess.Popen([binary, "-db", "-f", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield Balancer(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


_CADDYFILE = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  {site}
}}
"""


@contextmanager
def caddy(folder: Path, site: str) -> Iterator[str]:
    """The address of a Caddy with these directives; skips if none is installed."""
    binary = shutil.which("caddy")
    if binary is None:
        pytest.skip("caddy is not installed: apt-get install caddy")
    port = free_port()
    configuration = folder / "Caddyfile"
    configuration.write_text(_CADDYFILE.format(port=port, site=site))
    process = subprocess.Popen(
        [binary, "run", "--adapter", "caddyfile", "--config", str(configuration)],
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
