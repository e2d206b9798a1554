"""`python -m bench.ray_server PORT NODES`, with `lapsrn[ray]`: the service on several nodes of Ray on this machine.

The cores are shared out between the nodes; each node has one replica. Ends on SIGTERM.
"""

import os
import signal
import sys
import threading

import ray
from ray import serve
from ray.cluster_utils import Cluster

from deploy.ray.serve_app import deployment


def main() -> None:
    """Until SIGTERM."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    os.environ["LAPSRN_CPU_WORKERS"] = str(max(1, len(os.sched_getaffinity(0)) // count))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(count):
        cluster.add_node(num_cpus=1, resources={"replica": 1})
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    options = {"num_cpus": 0.5, "resources": {"replica": 1}}
    replicas = deployment.options(num_replicas=count, max_ongoing_requests=1000, ray_actor_options=options)
    serve.run(replicas.bind(), name="lapsrn", route_prefix="/")
    ended.wait()
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
