"""Serve a sweep's page until Ctrl-C."""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
import webbrowser
from collections.abc import Callable

from pipeline.errors import ConfigurationError
from pipeline.viewer.asked import Viewer, dictionary_of
from pipeline.viewer.live import LiveModel, Loaded
from pipeline.viewer.matches import Matches
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.server import Server
from pipeline.viewer.states import States

EVERYWHERE = ("", "0.0.0.0", "::")

ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?", re.ASCII)


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
        ConfigurationError: the matches are not those of the two sweeps.

    """
    other = None if options.diff is None else States(options.diff, None)
    check_options(options)
    model = matches = None
    states = States(url, options.at)
    if options.matches is not None:
        if other is None:
            raise ConfigurationError("--matches is about two sweeps: give the other with --diff.")
        pair = (dictionary_of(side.current.results) for side in (states, other))
        matches = Matches.read(options.matches, *pair)
    if options.model:
        folder = tempfile.mkdtemp(prefix="circuit-sweep-view-")
        model = LiveModel(Loaded(states.url, options.device, options.trust_remote_code, folder))
    return Viewer(states, options, other, matches, model)


def check_options(options: ViewOptions) -> None:
    """Refuse an address or an origin that no browser could use.

    Raises:
        ConfigurationError: `host` or `embed_from` is none.

    """
    if options.host in EVERYWHERE:
        raise ConfigurationError(
            f"--host {options.host} is every address of this machine, and the page answers under one: give "
            "the name or address by which the browser reaches it."
        )
    if options.embed_from is not None and not ORIGIN.fullmatch(options.embed_from):
        raise ConfigurationError(
            f"--embed-from {options.embed_from} is no origin: give scheme, host and port, such as "
            "http://localhost:8888."
        )


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
        await asyncio.to_thread(webbrowser.open, server.address_for_browser())
    await stopped.wait()
    await server.stop()
