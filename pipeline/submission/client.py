"""A sweep or training as a job of a Ray cluster, over the HTTP API of its head: sent, found again, followed.

A job's id holds a name and the minute (UTC) in which it was sent. While a job writes to an output
no second one is sent for it, and of one minute there is one job: a scheduler may call twice, or try again.
The output's lease (`pipeline.store.commits`) stands behind that, and keeps out what was started otherwise.

No variable of the environment travels, and so no credential: the cluster's machines have their own.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError
from pipeline.submission.address import (
    check_listening,
    head_address,
    named_by_argument,
    say_auth_mode,
    token_advice,
)
from pipeline.submission.kinds import kind_of
from pipeline.submission.working_dir import JobPackage

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

OUTPUT = "circuit-sweep-output"
"""Key under which a job's metadata says where it writes."""

RECONNECTS = 30
"""Tries in a row to take up a job's log again."""

RECONNECT_SECONDS = 2.0
"""Pause before each of them."""

SILENCE_SECONDS = 120.0
"""After so long without a word the log is read anew: what lies between may have dropped the connection."""

STOPPED, NEVER_RAN = 130, 2
"""Exit codes of jobs that were stopped, and of those that ended before they could say anything."""


@dataclass(frozen=True)
class Job:
    """A job on a cluster."""

    id: str
    status: str
    """Ray's word: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""

    output: str | None
    """URL that it writes to, if it was sent from here."""

    exit_code: int | None
    """None while it runs, and if it ended without one."""

    message: str
    """Ray's own words about its state."""

    is_new: bool = False
    """True if it was sent just now."""

    @classmethod
    def of(cls, details: JobDetails) -> Job:
        """Keep what matters here of Ray's record of a job."""
        output = (details.metadata or {}).get(OUTPUT)
        code, message = details.driver_exit_code, details.message or ""
        return cls(details.submission_id or "", str(details.status), output, code, message)

    @property
    def has_ended(self) -> bool:
        """True once it does nothing more."""
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")

    @property
    def never_ran(self) -> bool:
        """True if it ended before it could say anything."""
        return self.status == "FAILED" and self.exit_code is None

    @property
    def result(self) -> int:
        """Exit code of the command that waited for its end."""
        if self.status == "STOPPED":
            return STOPPED
        code = NEVER_RAN if self.never_ran else self.exit_code or 0
        return 128 - code if code < 0 else code  # a signal, as shells have it


class JobClient:
    """The head of a Ray cluster, spoken to over HTTP."""

    def __init__(self, address: str | None) -> None:
        """Find a head.

        Raises:
            ConfigurationError: no head answers there, or it wants a token that is not here.

        """
        self.address = head_address(address)
        say_auth_mode(self.address)
        check_listening(self.address)
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.ERROR)  # its client tells each step, over any level set for `ray`
        with self._explained(), named_by_argument():
            self._client = JobSubmissionClient(self.address)

    @property
    def is_here(self) -> bool:
        """True if it runs on this machine's file system: the folder of its session can be seen.

        That its address is this machine's says nothing: ports are forwarded.
        """
        from ray._common.utils import get_default_ray_temp_dir

        with self._explained():
            session = self._client._do_request("GET", "/api/version").json().get("session_name")
        return bool(session) and Path(get_default_ray_temp_dir(), session).is_dir()

    def submit(self, package: JobPackage, name: str, options: Iterable[str] = ()) -> Job:
        """Send a job, unless one is at work on its output or was sent under this name in this minute.

        Args:
            package: the sweep or training with what it takes along.
            name: what ids of its jobs begin with.
            options: what its command line holds beside the file.

        Raises:
            ConfigurationError: it names a path that the cluster cannot reach, or the head refuses it.

        """
        job_id = submission_id(name, datetime.now(UTC))
        with tempfile.TemporaryDirectory(prefix="circuit-sweep-") as folder:
            output = package.pack(Path(folder)).output
            if (found := self._find(job_id, output)) is not None:
                return found
            try:
                with self._explained():
                    self._client.submit_job(
                        entrypoint=shlex.join((*kind_of(package.config).command, *options)),
                        submission_id=job_id,
                        runtime_env={"working_dir": folder},
                        metadata={OUTPUT: output},
                    )
            except ConfigurationError:
                # Another took the id between the look and the sending, or the answer was lost on its way.
                if (found := self._find(job_id, output)) is None:
                    raise
                return found
        return replace(self.job(job_id), is_new=True)

    def job(self, job_id: str) -> Job:
        """Return what a job does now.

        Raises:
            ConfigurationError: there is none, or the head does not answer.

        """
        with self._explained():
            return Job.of(self._client.get_job_info(job_id))

    def _find(self, job_id: str, output: str) -> Job | None:
        """Return the job that makes another one needless."""
        with self._explained():
            jobs = [Job.of(details) for details in self._client.list_jobs()]
        same = next((job for job in jobs if job.id == job_id), None)
        if same is not None and same.output != output:
            raise ConfigurationError(
                f"job {job_id} was sent in this minute and writes to {same.output}: give this one a --name."
            )
        at_work = (job for job in jobs if job.output == output and not job.has_ended)
        return next(at_work, same)

    def follow(self, job_id: str, write: Callable[[str], None]) -> Job:
        """Hand on all that a job prints, from its beginning, until it ends.

        Raises:
            ConfigurationError: the connection is lost for good; the job knows nothing of that.

        """
        log, tries = Log(write), 0
        while tries < RECONNECTS:
            shown = log.shown
            try:
                asyncio.run(self._tail(job_id, log))
                job = Job.of(self._client.get_job_info(job_id))
            except _connection_errors() as error:
                tries = 1 if log.shown > shown else tries + 1
                reason = str(error)
            else:
                if job.has_ended:
                    return job
                tries = 0  # the head answers, only the log was silent or cut off
            time.sleep(RECONNECT_SECONDS)
        raise ConfigurationError(
            f"lost contact with {self.address} while following job {job_id} ({reason}). The job goes on if "
            "its cluster does: the same command again follows it, `circuit-sweep status` reads its output."
        )

    async def _tail(self, job_id: str, log: Log) -> None:
        """Read a log until it ends, or is silent for so long that the connection may be dead."""
        log.rewind()
        clock = asyncio.get_running_loop().time
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_SECONDS) as silence:
                async for text in self._client.tail_job_logs(job_id):
                    log.add(text)
                    silence.reschedule(clock() + SILENCE_SECONDS)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Ray's client raises into an error that says what to set."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise ConfigurationError(token_advice(self.address)) from error
        except _connection_errors() as error:
            raise ConfigurationError(f"the Ray cluster at {self.address} refuses: {error}") from error


@dataclass
class Log:
    """A job's output, handed on once, however often it is read again from its beginning."""

    write: Callable[[str], None]
    shown: int = 0
    """Characters handed on."""

    position: int = 0
    """Characters read since the beginning."""

    def rewind(self) -> None:
        """Expect the beginning."""
        self.position = 0

    def add(self, text: str) -> None:
        """Take what comes next, and hand on what is new of it."""
        new = text[max(0, self.shown - self.position) :]
        self.position += len(text)
        self.shown = max(self.shown, self.position)
        if new:
            self.write(new)


def submission_id(name: str, moment: datetime) -> str:
    """Return the id of the job that is sent under a name in a minute."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "sweep"
    return f"{readable}-{moment:%Y%m%d-%H%M}"


def name_of(output: str) -> str:
    """Return the name for jobs that write to an output: its last part."""
    return output.rstrip("/").rpartition("/")[2]


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return the errors that Ray's client raises if a head does not answer, or refuses."""
    import aiohttp

    return (OSError, RuntimeError, ValueError, aiohttp.ClientError)
