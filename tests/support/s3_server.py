"""An S3 server in a process of its own: deltalake holds the interpreter while it waits for an answer."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection


def serve(ready: Connection) -> None:
    """Serves until the process ends; sends the endpoint once it listens."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    # moto looks for the object and then stores it, in a thread per request: a real store does both at once.
    put, lock = S3Response.put_object, threading.Lock()

    def put_alone(self: S3Response) -> object:
        with lock:
            return put(self)

    S3Response.put_object = put_alone
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    ready.send(f"http://{host}:{port}")
    threading.Event().wait()
