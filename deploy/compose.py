"""`docker compose` on this repository's files, for checks that start the service and take it down again."""

import http.client
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.checking import CheckFailed, free_ports, require

ROOT = Path(__file__).resolve().parent.parent


class Docker:
    """`docker compose` on this repository's files, as the project `project`, on free ports."""

    def __init__(self, project: str, *overrides: Path) -> None:
        """Nothing is started yet; `overrides` are compose files that go over docker-compose.yml."""
        self.service_port, self.prometheus_port = free_ports(2)
        self.environment = os.environ | {
            "COMPOSE_FILE": os.pathsep.join(map(str, (ROOT / "docker-compose.yml", *overrides))),
            "COMPOSE_PROJECT_NAME": project,
            "RESTART_POLICY": "no",
            "SERVICE_PORT": str(self.service_port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
        }

    def run(self, *arguments: str, check: bool = True) -> str:
        """`docker ARGUMENTS`; returns its standard output. Raises CheckFailed if it fails and `check`."""
        done = subprocess.run(
            ["docker", *arguments], cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        require(not check or done.returncode == 0, f"docker {' '.join(arguments)} failed with {done.returncode}")
        return done.stdout.strip()

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose ARGUMENTS`, with progress on standard error as plain lines."""
        return self.run("compose", "--progress", "plain", *arguments, check=check)


def checked(name: str, docker: Docker, steps: Callable[[], None]) -> int:
    """Runs `steps`, shows the containers' logs if one fails, and cleans up; returns the exit code."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        print(f"{name}: no Docker engine answers (docker info failed)", file=sys.stderr)
        return 1
    try:
        steps()
    except (CheckFailed, OSError, http.client.HTTPException) as error:
        print(docker.compose("ps", "--all", check=False), file=sys.stderr)
        print(docker.compose("logs", "--no-color", "--tail", "60", check=False), file=sys.stderr)
        print(f"{name}: FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        docker.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
    print(f"{name}: all held")
    return 0
