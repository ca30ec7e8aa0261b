"""Serve a sweep's page until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import webbrowser
from collections.abc import Callable

from pipeline.errors import ConfigurationError
from pipeline.viewer.asked import Viewer
from pipeline.viewer.live import LiveModel, Loaded
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.server import Server
from pipeline.viewer.states import States


def view(url: str, options: ViewOptions, say: Callable[[str], None]) -> None:
    """Serve a sweep's page until the process is interrupted.

    Args:
        url: output of a sweep, a folder or an `s3://` URL.
        options: how it is served.
        say: called with each line for the user, the address first.

    Raises:
        StoreError: there is no sweep, or no such version.
        ConfigurationError: nothing can listen at the address.

    """
    asyncio.run(_serve(open_viewer(url, options), options, say))


def open_viewer(url: str, options: ViewOptions) -> Viewer:
    """Open what a server serves.

    Raises:
        StoreError: there is no sweep, or no such version.

    """
    other = None if options.diff is None else States(options.diff, None)
    model = None
    states = States(url, options.at)
    if options.model:
        folder = tempfile.mkdtemp(prefix="circuit-sweep-view-")
        model = LiveModel(Loaded(states.url, options.device, options.trust_remote_code, folder))
    return Viewer(states, options, other, model)


async def _serve(viewer: Viewer, options: ViewOptions, say: Callable[[str], None]) -> None:
    server = Server(viewer)
    try:
        address = await server.start()
    except OSError as error:
        raise ConfigurationError(
            f"nothing can listen at {options.host}:{options.port}: {error.strerror or error}. Give --port 0 "
            "for a free port, and as --host an address of this machine."
        ) from error
    say(address)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if options.open_browser:
        await asyncio.to_thread(webbrowser.open, address)
    await stopped.wait()
    await server.stop()
