"""Run a sweep, or train a dictionary, as a job on a Ray cluster, which goes on when this machine is off.

Sends these sources, the file with the options given here, and the prompts or text, models and dictionaries
that lie below this folder. While a job writes to the same output no second one is sent: the command says so
and, with --follow, follows that one. No variable of the environment is sent; machines of the cluster need
their own credentials. Exit codes: 0, sent; 2, it could not be (a message says why); with --follow that of
the job, as `circuit-sweep run --help` (or `train --help`) lists them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobs._command_line import parse
from jobs._training import names_dictionary
from jobs.cli import INTERRUPTED, program, run_command
from jobs.run import SweepArguments, read_arguments
from jobs.train import DictionaryArguments, read_dictionary

if TYPE_CHECKING:
    from pipeline.submission import Job, JobClient
    from pipeline.untrusted import Console

SENT = 0


@dataclass(frozen=True)
class JobOptions:
    """How a job is sent."""

    address: str | None = None
    """The cluster's dashboard, http://HEAD:8265 (default: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS)."""

    follow: bool = False
    """Stay, print what the job prints, and end as it ends. Ctrl-C leaves it alone."""

    name: str | None = None
    """Prefix of the job's id; the date and time (UTC) follow (default: the output's last part)."""

    log_format: Literal["text", "json"] = "text"
    """Format of the job's log: text, or one JSON object a line."""

    shared: tuple[Path, ...] = ()
    """Folders that all machines have under the same path, such as an NFS mount: what lies in them need not be
    shipped, and the output may (default: none; all if the head runs on this machine)."""

    installed: bool = False
    """Use the Circuit Sweep that the machines have installed rather than these sources."""


@dataclass(frozen=True)
class Arguments(JobOptions, SweepArguments):
    """Arguments of the command line."""


@dataclass(frozen=True)
class TrainingArguments(JobOptions, DictionaryArguments):
    """Arguments where the file is a dictionary's."""


def main(argv: list[str] | None = None) -> int:
    """Send a sweep or a training to a cluster and return an exit code."""
    if names_dictionary(sys.argv[1:] if argv is None else argv):
        arguments = parse(TrainingArguments, argv, "submit", __doc__)
        config = read_dictionary(arguments)
    else:
        arguments, config = read_arguments(Arguments, argv, "submit", __doc__)

    from pipeline.submission import JobClient, JobPackage, Mounts, name_of
    from pipeline.untrusted import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    client = JobClient(arguments.address)
    shared = (Path("/"),) if client.is_here and not arguments.shared else arguments.shared
    mounts = Mounts(Path.cwd(), tuple(path.absolute() for path in shared))
    name = arguments.name or name_of(config.output)
    package = JobPackage(config, mounts, with_sources=not arguments.installed)
    job = client.submit(package, name, ("--log-format", arguments.log_format))
    _say(console, job)
    if not arguments.follow:
        console.print(_advice(client, job))
        return SENT
    return _follow(console, client, job)


def _say(console: Console, job: Job) -> None:
    if job.is_new:
        console.print(f"sent as job {job.id}, which writes to {job.output}")
    elif job.has_ended:
        console.print(
            f"not sent again: job {job.id} was sent in this same minute and has {job.status.lower()}"
        )
    else:
        console.print(f"not sent again: job {job.id} ({job.status.lower()}) writes to {job.output}")


def _follow(console: Console, client: JobClient, job: Job) -> int:
    try:
        ended = client.follow(job.id, _write)
    except KeyboardInterrupt:
        console.print(f"no longer following; the job goes on.\n{_advice(client, job)}")
        return INTERRUPTED
    code = "" if ended.exit_code is None else f" with exit code {ended.exit_code}"
    console.print(f"job {ended.id} has {ended.status.lower()}{code}")
    if ended.never_ran:
        console.print(ended.message)
    return ended.result


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _advice(client: JobClient, job: Job) -> str:
    lines = {
        "where it stands": f"{program()} status {job.output}",
        "what it prints": f"ray job logs --address {client.address} --follow {job.id}",
        "to stop it": f"ray job stop --address {client.address} {job.id}",
    }
    return "\n".join(f"{what + ':':<17}{command}" for what, command in lines.items())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
