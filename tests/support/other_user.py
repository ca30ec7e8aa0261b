"""The viewer as somebody who may only read."""

from __future__ import annotations

import os
from typing import Any

from tests.support.viewers import served

NOBODY = 65534


def asked_as_nobody(url: str, warm_url: str, paths: list[str]) -> list[tuple[int, Any]]:
    """Status and JSON of answers, and of a note that is refused, where the process is not root's."""
    # What is imported late may lie where only root reads.
    with served(warm_url, model=False) as server:
        _ = [server.ask(path) for path in paths], server.ask("/api/notes", "POST", NOTE)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with served(url, model=False) as server:
        answers = [server.ask(path) for path in paths]
        answers.append(server.ask("/api/notes", "POST", NOTE))
        answers.append(server.ask("/api/sweep"))
    return [(answer.status, answer.json) for answer in answers]


NOTE = {"kind": "label", "text": "mine", "members": ["1/3"]}
