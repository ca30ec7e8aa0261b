"""What driver and workers tell each other: it arrives, and what does not is said."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from pipeline.errors import CircuitSweepError
from pipeline.runtime.messages import ShardReport
from pipeline.runtime.pool import Fleet, Replica
from pipeline.runtime.serialization import packed, unpacked
from pipeline.runtime.shard import Shard, ShardPrompt

CARRIED = {"at": datetime(2026, 1, 2, tzinfo=UTC), "tags": ["a", None], "raw": b"x"}


@pytest.fixture
def shard() -> Shard:
    prompt = ShardPrompt(-5, "q1", "a text", (1, 2), CARRIED)
    failed = ShardPrompt(6, "q2", None, (), {}).failed(7, "tokenize", ValueError("no tokens"))
    return Shard((prompt,), (failed,), 7)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet of one replica whose answers are what it returns."""
    monkeypatch.setattr(ray, "wait", lambda calls, num_returns, timeout: (calls, []))
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    return Fleet(worker=None, prompt_seconds=60.0)


def answering(fleet: Fleet, answer: Any) -> Replica:
    actor = SimpleNamespace(run_packed=SimpleNamespace(remote=answer))
    fleet.replicas.append(Replica(actor, loaded=True))
    return fleet.replicas[0]


def test_a_shard_arrives_as_it_was_sent_and_its_report_as_it_was_made(fleet: Fleet, shard: Shard) -> None:
    def answer(sent: bytes) -> bytes:
        assert type(sent) is bytes  # Ray passes on nothing else as it is
        assert unpacked(sent) == (shard, 60.0)
        return packed(report)

    report = ShardReport(2, graphs=1, shard=shard.id, prompt_keys=(-5,), failed=shard.rejected)
    replica = answering(fleet, answer)
    fleet.send(replica, shard)
    ((call, result),) = fleet.collect(0.0)
    assert (call.shard, result, replica.shards) == (shard, report, [])


def test_a_report_of_another_version_is_said_and_not_blamed_on_the_prompts(
    fleet: Fleet, shard: Shard
) -> None:
    made_elsewhere = packed(ShardReport(1)).replace(b"ShardReport", b"ShardRopert")
    fleet.send(answering(fleet, lambda sent: made_elsewhere), shard)
    with pytest.raises(CircuitSweepError, match=r"ShardRopert.*same version of Circuit Sweep"):
        list(fleet.collect(0.0))
