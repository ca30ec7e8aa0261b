"""Start a Ray of our own as a script of a user's would, which has imported Ray before; say where it listens.

Run as a program: arguments are a port for its agent's jobs; it goes on until its standard input is closed.
"""

from __future__ import annotations

import functools
import json
import os
import sys

import psutil
import ray
from ray._private.parameter import RayParams

from pipeline.runtime import cluster


@ray.remote
def _environment() -> dict[str, str]:
    return dict(os.environ)


def main(port: int) -> None:
    """Print one line of JSON: what is known to the processes of this Ray."""
    # By default it is the same port for all; where a Ray of another test has it, ours would take no jobs.
    RayParams.__init__ = functools.partialmethod(RayParams.__init__, dashboard_agent_listen_port=port)
    with cluster(None):
        worker = ray.get(_environment.remote())
        tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {
            (
                ip if (ip := connection.laddr.ip) not in ("::", "0.0.0.0") else "127.0.0.1",
                connection.laddr.port,
            )
            for process in tree
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        found = {
            "gcs": ray.get_runtime_context().gcs_address,
            "listening": sorted(listening),
            "folder": ray._private.worker.global_worker.node.get_session_dir_path(),
            "token": os.environ["RAY_AUTH_TOKEN"],
            "worker_token": worker["RAY_AUTH_TOKEN"],
            "commands": [" ".join(process.cmdline()) for process in tree],
        }
        print(json.dumps(found), flush=True)
        sys.stdin.read()
    print(json.dumps({name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
