"""Two nodes of Ray on this machine: pictures through Serve's proxy while replicas and a node come and go.

Needs `lapsrn[ray]` and redis-server. Exits 0 only if no byte was wrong, every request lost to a kill was an honest 502
or 503 and none began later than a second after the first loss, nothing was lost when a version or the number of
replicas changed, replicas came with a backlog and went after it, and the proxy keeps what the service promises.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.cluster_utils import Cluster

from bench.redis_server import RedisServer
from deploy import checking
from deploy.check_client import call, picture, post
from deploy.checking import PATIENCE, CheckFailed, free_ports, poll, require
from deploy.ray.serve_app import deployment, replicas_for
from deploy.ray_proxy_check import SETTINGS, accepted, check_proxy

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 2
CROWD = 16
"""Clients that are a backlog for one worker."""
SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "upscale_delay_s": 1,
    "downscale_delay_s": 5,
    "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
    "policy": {"policy_function": replicas_for},
}

step = partial(checking.step, "ray-check")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request: when it began and ended, and its status, 0 where the connection failed."""

    began: float
    ended: float
    status: int


class Client(threading.Thread):
    """Posts one picture after the other until `over` is set; `wrong` counts answers that are not `expected`."""

    def __init__(self, port: int, data: bytes, expected: bytes | None = None) -> None:
        """With None nobody looks at the bytes."""
        super().__init__(daemon=True)
        self.port, self.data, self.expected = port, data, expected
        self.outcomes: list[Outcome] = []
        self.wrong = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Until `over` is set."""
        while not self.over.is_set():
            began = time.monotonic()
            try:
                status, headers, body = post(self.port, self.data)
                if status not in (200, 503):
                    print(f"ray-check: {status} {headers} {body[:200]!r}", flush=True)
            except (OSError, http.client.HTTPException):
                status, body = 0, b""
            self.outcomes.append(Outcome(began, time.monotonic(), status))
            self.wrong += status == 200 and self.expected is not None and body != self.expected


def under_load(clients: list[Client], act: Callable[[], None]) -> list[Outcome]:
    """Clients post before `act`, meanwhile, and for ten seconds after it. Raises CheckFailed for a wrong byte."""
    for client in clients:
        client.start()
    poll("answers before", lambda: all(len(client.outcomes) >= 5 for client in clients), PATIENCE)
    act()
    acted = time.monotonic()
    # Long enough for whatever is lost later than it may be.
    poll(
        "answers after",
        lambda: all(sum(each.began > acted + 10 for each in client.outcomes) >= 5 for client in clients),
        PATIENCE,
    )
    outcomes = finish(clients)
    require(not sum(client.wrong for client in clients), "an answer had wrong bytes")
    return outcomes


def finish(clients: list[Client]) -> list[Outcome]:
    """Ends clients; returns the outcomes of all their requests."""
    for client in clients:
        client.over.set()
    for client in clients:
        client.join()
    return [outcome for client in clients for outcome in client.outcomes]


def killed(name: str, clients: list[Client], kill: Callable[[], None]) -> None:
    """Prints what was lost, and raises CheckFailed for losses that a kill does not excuse."""
    outcomes = under_load(clients, kill)
    lost = [each for each in outcomes if each.status != 200]
    print(f"ray-check: {name}: {len(outcomes)} requests, statuses of those lost: {[each.status for each in lost]}")
    require(all(each.status in (502, 503) for each in lost), f"lost otherwise than with 502 or 503: {lost}")
    known = min((each.ended for each in lost), default=0.0)
    require(all(each.began <= known + 1 for each in lost), f"lost a second after the first loss: {lost}")


def nothing_lost(name: str, outcomes: list[Outcome]) -> None:
    """Raises CheckFailed if something was."""
    print(f"ray-check: {name}: {len(outcomes)} requests, none lost" if outcomes else f"ray-check: {name}: no requests")
    statuses = Counter(each.status for each in outcomes)
    require(set(statuses) == {200}, f"{name}: {dict(statuses)}")


def replicas() -> list[tuple[int, str]]:
    """(process, node) of each replica that runs."""
    found = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    details = ray.get(found.get_serve_instance_details.remote())
    deployment = details["applications"]["lapsrn"]["deployments"]["lapsrn"]
    return [(each["pid"], each["node_id"]) for each in deployment["replicas"] if each["state"] == "RUNNING"]


def from_any(port: int, data: bytes) -> None:
    """A result and a job, asked for until every replica has been asked, most likely."""
    _, headers, _ = post(port, data)
    for _ in range(20):
        status, _, body = call(port, "GET", f"/upscale?level=2&id={headers['x-upscale-id']}")
        require(status == 200 and body[:4] == b"\x89PNG", f"GET level=2 answered {status}")


def crowded(port: int) -> None:
    """Clients come until there are two replicas."""
    clients = [Client(port, picture(250, 320)) for _ in range(CROWD)]
    for client in clients:
        client.start()
    poll("a second replica", lambda: len(replicas()) == 2, PATIENCE)
    statuses = Counter(each.status for each in finish(clients))
    print(f"ray-check: a crowd of {CROWD}: {dict(statuses)}")
    require(set(statuses) <= {200, 503}, f"answers {statuses}")


def finished(port: int, job: str) -> bool:
    """Whether a job is done; raises CheckFailed if it never will be."""
    _, _, body = call(port, "GET", job)
    state = json.loads(body)["state"]
    require(state in ("queued", "running", "done"), f"a job is {state}")
    return bool(state == "done")


def check(folder: Path) -> None:
    """Every step."""
    redis_port, port = free_ports(2)
    redis = RedisServer(redis_port, folder)
    redis.start()
    os.environ |= {
        "LAPSRN_REDIS_URL": redis.url,
        "LAPSRN_CPU_WORKERS": "1",
        "LAPSRN_CODEC_THREADS": "1",
        "LAPSRN_WEIGHTS": str(ROOT / "weights/lapsrn_x4.safetensors"),
        "LAPSRN_MORE_WEIGHTS": str(ROOT / "weights"),
        "PYTHONPATH": str(ROOT),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.ray.proxy:middlewares",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",  # on however busy a machine
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "LAPSRN_DEADLINE_SECONDS": str(PATIENCE),
        **SETTINGS,
    }
    data, expected = example(folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        nodes = [add_node(cluster) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        check_proxy_and_replicas(port, data, expected)
        check_kills(cluster, nodes[0], lambda: [Client(port, data, expected) for _ in range(CLIENTS)])
        check_versions(port, data, expected)
        check_scaling(port, data, expected)
    except Exception:
        traceback.print_exc()  # at once: Ray may end this process when it is shut down
        raise
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
        redis.stop()


def example(folder: Path) -> tuple[bytes, bytes]:
    """A picture, and what the command line makes of it."""
    source, result = folder / "a.png", folder / "b.png"
    source.write_bytes(picture(96, 128))
    tool = [sys.executable, "-m", "app.cli", "upscale", str(source), "-o", str(result), "--quiet"]
    subprocess.run(tool, check=True, cwd=ROOT)
    return source.read_bytes(), result.read_bytes()


def add_node(cluster: Cluster) -> Any:
    """A node with room for one replica."""
    return cluster.add_node(num_cpus=1, resources={"replica": 1})


def deploy(**options: Any) -> None:
    """Has Serve run the application with these options of a deployment, until it is healthy."""
    made = deployment.options(
        ray_actor_options={"num_cpus": 0.5, "resources": {"replica": 1}},
        health_check_period_s=1,
        graceful_shutdown_timeout_s=60,
        **options,
    )
    serve.run(made.bind(), name="lapsrn", route_prefix="/")


def check_proxy_and_replicas(port: int, data: bytes, expected: bytes) -> None:
    """One replica, with everything that the proxy adds, and then two."""
    with step("one replica, ready only when warm"):
        deploy(num_replicas=1)
        require(post(port, data)[2] == expected, "the answer is not that of the command line")
    with step("the proxy keeps what the service promises"):
        check_proxy(port, data, expected)
    with step("two replicas on two nodes"):
        deploy(num_replicas=2)
        require(len({node for _, node in replicas()}) == 2, "two replicas are not on two nodes")
        from_any(port, data)


def check_kills(cluster: Cluster, node: Any, clients: Callable[[], list[Client]]) -> None:
    """A replica and then a node are killed under load; both come back."""
    with step("a replica is killed"):
        killed("replica", clients(), lambda: os.kill(replicas()[0][0], signal.SIGKILL))
        poll("two replicas again", lambda: len(replicas()) == 2, PATIENCE)
    with step("a node is killed"):
        killed("node", clients(), lambda: cluster.remove_node(node, allow_graceful=False))
        add_node(cluster)
        poll("two replicas again", lambda: len(replicas()) == 2, PATIENCE)


def check_versions(port: int, data: bytes, expected: bytes) -> None:
    """A version is rolled out under load: nothing is lost, and jobs of the one before are finished."""
    with step("another version, and fewer replicas without a backlog"):
        jobs, before = [accepted(port, data) for _ in range(4)], replicas()
        client = Client(port, data, expected)
        rolled = under_load([client], lambda: deploy(autoscaling_config=SCALING, max_ongoing_requests=1000))
        require(not {pid for pid, _ in before} & {pid for pid, _ in replicas()}, "a replica is of the old version")
        nothing_lost("another version", rolled)
        poll("jobs of the version before", lambda: all(finished(port, job) for job in jobs), PATIENCE)
        poll("one replica", lambda: len(replicas()) == 1, PATIENCE)


def check_scaling(port: int, data: bytes, expected: bytes) -> None:
    """Replicas come with a backlog and go after it, which loses nothing."""
    with step("up with a backlog, down after it"):
        crowded(port)
        client = Client(port, data, expected)
        client.start()
        poll("one replica again", lambda: len(replicas()) == 1, PATIENCE)
        nothing_lost("down", finish([client]))


def main() -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(Path(folder))
        except CheckFailed as error:
            print(f"ray-check: FAILED: {error}", file=sys.stderr)
            return 1
    print("ray-check: all held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
