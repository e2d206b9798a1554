"""Two nodes of Ray on this machine: pictures through Serve's proxy while a replica and then a node are killed.

Needs `lapsrn[ray]` and redis-server. Exits 0 only if no byte was wrong, every lost request was an honest 502 or 503 and
none was lost after the first second, and replicas came with a backlog and went after it.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ray
from ray import serve
from ray.cluster_utils import Cluster

from bench.redis_server import RedisServer
from deploy.docker_check import CheckFailed, call, picture, poll, post, require, step
from deploy.ray.serve_app import deployment, replicas_for

PATIENCE = 120
ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 2


class Client(threading.Thread):
    """Posts one picture after the other; `answers` are (when it began, status), `wrong` counts bad bytes."""

    def __init__(self, port: int, data: bytes, expected: bytes) -> None:
        super().__init__(daemon=True)
        self.port, self.data, self.expected = port, data, expected
        self.answers: list[tuple[float, int]] = []
        self.wrong = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Until `over` is set."""
        while not self.over.is_set():
            began = time.time()
            try:
                status, headers, body = post(self.port, self.data)
                if status != 200:
                    print(f"ray-check: {status} {headers} {body[:200]!r}", flush=True)
            except (OSError, http.client.HTTPException):
                status, body = 0, b""
            self.answers.append((began, status))
            self.wrong += status == 200 and body != self.expected


def under_kill(name: str, port: int, data: bytes, expected: bytes, kill: Callable[[], None]) -> None:
    """Clients post meanwhile; says what was lost, and raises CheckFailed for what must not be."""
    clients = [Client(port, data, expected) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    poll("answers before the kill", lambda: all(len(client.answers) >= 5 for client in clients), PATIENCE)
    killed = time.time()
    kill()
    gone = time.time()
    # Long enough for whatever is lost later than it may be.
    poll(
        "answers after the kill",
        lambda: all(sum(at > killed + 10 for at, _ in client.answers) >= 5 for client in clients),
        PATIENCE,
    )
    for client in clients:
        client.over.set()
    for client in clients:
        client.join()
    answers = [answer for client in clients for answer in client.answers]
    lost = [(round(at - killed, 2), status) for at, status in answers if status != 200]
    counted = Counter(status for _, status in answers)
    print(f"ray-check: {name}: {len(answers)} answers, {counted}, lost {lost}, gone after {gone - killed:.2f} s")
    require(not sum(client.wrong for client in clients), "an answer had wrong bytes")
    require(all(status in (502, 503) for _, status in lost), f"lost otherwise than with 502 or 503: {lost}")
    require(all(at <= gone - killed + 1 for at, _ in lost), f"lost after the first second: {lost}")


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


def in_the_background(port: int, data: bytes) -> list[int]:
    """Statuses of many pictures at once."""
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(post(port, data)[0])) for _ in range(12)]
    for thread in threads:
        thread.start()
    poll("a second replica", lambda: len(replicas()) == 2, PATIENCE)
    for thread in threads:
        thread.join()
    return statuses


def check(folder: Path) -> None:
    """Every step."""
    ports = _free_ports(2)
    redis = RedisServer(ports[0], folder)
    redis.start()
    os.environ |= {
        "LAPSRN_REDIS_URL": redis.url,
        "LAPSRN_CPU_WORKERS": "1",
        "LAPSRN_CODEC_THREADS": "1",
        "LAPSRN_WEIGHTS": str(ROOT / "weights/lapsrn_x4.safetensors"),
        "LAPSRN_MORE_WEIGHTS": str(ROOT / "weights"),
        "PYTHONPATH": str(ROOT),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.ray.proxy:middlewares",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    source, result = folder / "a.png", folder / "b.png"
    source.write_bytes(picture(96, 128))
    tool = [sys.executable, "-m", "app.cli", "upscale", str(source), "-o", str(result), "--quiet"]
    subprocess.run(tool, check=True, cwd=ROOT)
    data, expected = source.read_bytes(), result.read_bytes()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1, resources={"replica": 1}) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": ports[1]})
        options = {"ray_actor_options": {"num_cpus": 0.5, "resources": {"replica": 1}}, "health_check_period_s": 1}
        port = ports[1]
        with step("two replicas on two nodes, ready only when warm", "ray-check"):
            serve.run(deployment.options(num_replicas=2, **options).bind(), name="lapsrn", route_prefix="/")
            require(len({node for _, node in replicas()}) == 2, "two replicas are not on two nodes")
            require(post(port, data)[2] == expected, "the answer is not that of the command line")
            from_any(port, data)
        with step("a replica is killed", "ray-check"):
            under_kill("replica", port, data, expected, lambda: os.kill(replicas()[0][0], signal.SIGKILL))
            poll("two replicas again", lambda: len(replicas()) == 2, PATIENCE)
        with step("a node is killed", "ray-check"):
            under_kill("node", port, data, expected, lambda: cluster.remove_node(nodes[0], allow_graceful=False))
            cluster.add_node(num_cpus=1, resources={"replica": 1})
            poll("two replicas again", lambda: len(replicas()) == 2, PATIENCE)
        with step("up with a backlog, down after it", "ray-check"):
            scaling = {
                "min_replicas": 1,
                "max_replicas": 2,
                "downscale_delay_s": 3,
                "metrics_interval_s": 0.5,
                "policy": {"policy_function": replicas_for},
            }
            scaled = deployment.options(autoscaling_config=scaling, max_ongoing_requests=1000, **options)
            serve.run(scaled.bind(), name="lapsrn", route_prefix="/")
            poll("one replica", lambda: len(replicas()) == 1, PATIENCE)
            statuses = in_the_background(port, picture(700, 800))
            require(set(statuses) <= {200, 503}, f"answers {statuses}")
            poll("one replica again", lambda: len(replicas()) == 1, PATIENCE)
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
        redis.stop()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


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
