"""What users call their prompts, and what stands in them, names no file."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.store import Output
from pipeline.sweep.progress import Progress
from pipeline.sweep.sweep import run_sweep
from pipeline.verification import verify
from tests.sweep.test_sweep import Make
from tests.sweep.tiny_model import sentence

HOSTILE = (
    "../../x",
    "/etc/passwd",
    "..",
    "nul\0byte",
    "line\nbreak",
    "C:\\x",
    "~root",
    "%2e%2e%2fx",
    "a" * 10_000,
    "s3://bucket/x",
    "-rf",
    "\u202egnp.x",
)

OURS = re.compile(
    r"_(sweep|progress)\.json|_commits/[0-9a-f]{32}\.json|_runs/[0-9TZ.]+\.json"
    r"|(graphs|nodes|edges|activations|failures)/"
    r"([0-9a-f]{32}-[0-9]+-[0-9a-f]{8}\.parquet|_delta_log/[0-9]{20}\.json)"
)


def test_hostile_ids_and_prompts_stay_in_the_tables(
    make_config: Make, progress: Progress, address: str, tmp_path: Path
) -> None:
    data = [{"id": name, "prompt": sentence(number), "family": name} for number, name in enumerate(HOSTILE)]
    data += [{"id": f"text {name}", "prompt": name, "family": name} for name in HOSTILE]
    config = make_config(data, prompts={"columns": ["family"]})
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(config.output)}
    report = run_sweep(config, progress, address)
    assert (report.graphs, report.failures) == (len(HOSTILE), len(HOSTILE))

    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(config.output)}
    assert after == before
    names = [
        str(path.relative_to(config.output)) for path in Path(config.output).rglob("*") if path.is_file()
    ]
    assert [name for name in names if not OURS.fullmatch(name)] == []
    output = Output(config.output)
    assert set(output.dataset("graphs").to_table()["id"].to_pylist()) == set(HOSTILE)
    assert set(output.dataset("failures").to_table()["text"].to_pylist()) == set(HOSTILE)
    assert verify(config.output).sound
