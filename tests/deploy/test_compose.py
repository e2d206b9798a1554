"""What docker-compose.yml, the GPU override, .env.example and the Dockerfile promise, read as the files they are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EVERY = pytest.mark.parametrize("name", sorted(SERVICES))


def test_what_starts_by_default() -> None:
    assert {name: service.get("profiles", []) for name, service in SERVICES.items()} == {
        "lapsrn": [],
        "prometheus": [],
        "alertmanager": ["alerts"],
        "grafana": ["grafana"],
    }


@EVERY
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert SERVICES[name]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@EVERY
def test_containers_are_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()


@EVERY
def test_containers_and_their_logs_are_limited(name: str) -> None:
    assert {"cpus", "mem_limit", "pids_limit", "tmpfs"} <= SERVICES[name].keys()
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@EVERY
def test_binds_are_files_of_this_repository_and_read_only(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, mode = volume.split(":")[0], volume.split(":")[-1]
        if source.startswith("."):
            assert mode == "ro"
            assert (ROOT / source).exists()
        else:
            assert source in COMPOSE["volumes"]


def test_health_is_asked_for_without_a_proxy() -> None:
    """Docker passes its own on to containers, and BusyBox's wget asks it for loopback, too, whatever no_proxy says."""
    commands = [service["healthcheck"]["test"] for service in SERVICES.values() if "healthcheck" in service]
    assert len(commands) == 2
    assert all(command[:5] == ["CMD", "wget", "-q", "-Y", "off"] for command in commands)


def test_waits_for_health() -> None:
    assert SERVICES["prometheus"]["depends_on"] == {"lapsrn": {"condition": "service_healthy"}}
    assert SERVICES["grafana"]["depends_on"] == {"prometheus": {"condition": "service_healthy"}}
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/readyz" in DOCKERFILE


def test_stop_leaves_the_grace_time_and_some() -> None:
    seconds = int(re.fullmatch(r"\$\{SERVICE_STOP_GRACE:-(\d+)s\}", SERVICES["lapsrn"]["stop_grace_period"])[1])  # type: ignore[index]
    assert seconds >= 3 * Settings.model_fields["grace_seconds"].default + 10


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / name).read_text()
        for name in ("docker-compose.yml", "docker-compose.gpu.yml", ".env.example", "Dockerfile")
    ],
    ids=["docker-compose.yml", "docker-compose.gpu.yml", ".env.example", "Dockerfile"],
)
def test_settings_exist(text: str) -> None:
    named = {name.removeprefix("LAPSRN_").lower() for name in re.findall(r"\bLAPSRN_[A-Z_]+[A-Z]", text)}
    assert named
    assert named <= Settings.model_fields.keys()


def test_every_variable_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    used |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.gpu.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    choices_of_the_engine = {"LAPSRN_CPU_WORKERS", "LAPSRN_CODEC_THREADS", "LAPSRN_DEVICES", "COMPOSE_PROJECT_NAME"}
    assert {name for name in used - choices_of_the_engine if f"# {name}=" not in example} == set()


def test_example_shows_the_defaults() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^{}$]+)\}", (ROOT / "docker-compose.yml").read_text()))
    example = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    shown = {name: example[name] for name in defaults if name in example}
    assert shown == {name: defaults[name] for name in shown}
    assert len(shown) >= 12


def test_gpus_are_reserved_in_the_override_alone() -> None:
    assert "deploy" not in SERVICES["lapsrn"]
    devices = GPU["services"]["lapsrn"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])]
    assert GPU["services"]["lapsrn"]["build"]["args"]["VARIANT"] == "cuda"


def test_image_is_unprivileged_and_pulls_no_frontend() -> None:
    final = DOCKERFILE.partition(" AS service\n")[2]
    assert "USER 10001:10001" in final
    assert "pip install" not in final
    assert "# syntax=" not in DOCKERFILE
    assert re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE) == [
        ("${BASE}", "build"),
        ("build", "code"),
        ("${BASE}", "weights"),
        ("${BASE}", "service"),
    ]


def test_build_context_holds_what_is_copied() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert any(path.rstrip("/") == rule or path.startswith(f"{rule}/") for rule in allowed), path
