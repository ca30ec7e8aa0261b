"""Try all doors of a Ray as another process of the machine would; print those that opened.

Run as a program: arguments are the address of its GCS, a file that a job is to write, and JSON of the ports.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import ray
import requests
from ray.core.generated import (
    core_worker_pb2,
    core_worker_pb2_grpc,
    gcs_service_pb2,
    gcs_service_pb2_grpc,
    node_manager_pb2,
    node_manager_pb2_grpc,
    reporter_pb2,
    reporter_pb2_grpc,
)

SECONDS = 5

SERVICES = {
    "GCS": (
        gcs_service_pb2_grpc.NodeInfoGcsServiceStub,
        "GetAllNodeInfo",
        gcs_service_pb2.GetAllNodeInfoRequest,
    ),
    "raylet": (
        node_manager_pb2_grpc.NodeManagerServiceStub,
        "GetNodeStats",
        node_manager_pb2.GetNodeStatsRequest,
    ),
    "worker": (
        core_worker_pb2_grpc.CoreWorkerServiceStub,
        "GetCoreWorkerStats",
        core_worker_pb2.GetCoreWorkerStatsRequest,
    ),
    "agent": (reporter_pb2_grpc.ReporterServiceStub, "GetTraceback", reporter_pb2.GetTracebackRequest),
}
"""A question to each kind of process, over gRPC."""


def opened(gcs: str, flag: str, ports: list[tuple[str, int]]) -> Iterator[str]:
    """Yield the doors that let this process in by name, and those that asked for a token as `closed NAME`."""
    yield from _task(gcs)
    for host, port in ports:
        yield from _http(
            f"http://{host}:{port}/api/job_agent/jobs/", "jobs", {"entrypoint": f"echo > {flag}"}
        )
        yield from _http(f"http://{host}:{port}/get_or_create_runtime_env", "environments", {})
        channel = grpc.insecure_channel(f"{host}:{port}")
        for name, (stub, method, request) in SERVICES.items():
            yield from _grpc(name, getattr(stub(channel), method), request())


def _task(gcs: str) -> Iterator[str]:
    try:
        ray.init(gcs, log_to_driver=False)
    except ConnectionError as error:
        told = "".join(traceback.format_exception(error))
        yield "closed task" if "AuthenticationError" in told else told
        return
    yield "task" if ray.get(ray.remote(lambda: True).remote()) else ""


def _http(url: str, name: str, body: dict[str, Any]) -> Iterator[str]:
    try:
        status = requests.post(url, json=body, timeout=SECONDS).status_code
    except requests.RequestException:
        return  # no HTTP is spoken there
    if status in (401, 403):
        yield f"closed {name}"
    elif status not in (404, 405):  # a server of numbers, which knows no such thing
        yield name


def _grpc(name: str, call: Callable[..., Any], request: Any) -> Iterator[str]:
    try:
        call(request, timeout=SECONDS)
        yield name
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            yield f"closed {name}"


if __name__ == "__main__":
    print(json.dumps(sorted(set(opened(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))))
