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


def test_the_service_and_prometheus_start_by_default() -> None:
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
def test_containers_and_their_logs_have_limits(name: str) -> None:
    assert {"cpus", "mem_limit", "pids_limit", "tmpfs"} <= SERVICES[name].keys()
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@EVERY
def test_bind_mounts_are_read_only_files_of_this_repository(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, mode = volume.split(":")[0], volume.split(":")[-1]
        if source.startswith("."):
            assert mode == "ro"
            assert (ROOT / source).exists()
        else:
            assert source in COMPOSE["volumes"]


def test_health_checks_do_not_use_a_proxy() -> None:
    """Docker passes its own on to containers, and BusyBox's wget asks it for loopback, too, whatever no_proxy says."""
    commands = [service["healthcheck"]["test"] for service in SERVICES.values() if "healthcheck" in service]
    assert len(commands) == 2
    assert all(command[:5] == ["CMD", "wget", "-q", "-Y", "off"] for command in commands)


def test_prometheus_and_grafana_wait_for_healthy_services() -> None:
    assert SERVICES["prometheus"]["depends_on"] == {"lapsrn": {"condition": "service_healthy"}}
    assert SERVICES["grafana"]["depends_on"] == {"prometheus": {"condition": "service_healthy"}}
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/readyz" in DOCKERFILE


def test_the_stop_grace_period_exceeds_the_grace_time() -> None:
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
def test_every_variable_is_a_setting(text: str) -> None:
    named = {name.removeprefix("LAPSRN_").lower() for name in re.findall(r"\bLAPSRN_[A-Z_]+[A-Z]", text)}
    assert named
    assert named <= Settings.model_fields.keys()


def test_every_variable_is_in_the_example_file() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    used |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.gpu.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    choices_of_the_engine = {"LAPSRN_CPU_WORKERS", "LAPSRN_CODEC_THREADS", "LAPSRN_DEVICES", "COMPOSE_PROJECT_NAME"}
    assert {name for name in used - choices_of_the_engine if f"# {name}=" not in example} == set()


def test_the_example_file_shows_the_defaults() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^{}$]+)\}", (ROOT / "docker-compose.yml").read_text()))
    example = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    shown = {name: example[name] for name in defaults if name in example}
    assert shown == {name: defaults[name] for name in shown}
    assert len(shown) >= 12


def test_gpus_are_only_reserved_in_the_override() -> None:
    assert "deploy" not in SERVICES["lapsrn"]
    devices = GPU["services"]["lapsrn"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])]
    assert GPU["services"]["lapsrn"]["build"]["args"]["VARIANT"] == "cuda"


def test_the_image_is_unprivileged_and_pulls_no_frontend() -> None:
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


def test_the_build_context_contains_what_is_copied() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert any(path.rstrip("/") == rule or path.startswith(f"{rule}/") for rule in allowed), path
