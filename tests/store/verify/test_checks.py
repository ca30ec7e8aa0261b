from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import StoreError
from pipeline.store.aggregate_info import StatisticsInfo
from pipeline.store.aggregate_results import AggregateResult
from pipeline.store.commits.marker import Marker
from pipeline.store.compaction import compaction
from pipeline.store.compaction.compaction import compact
from pipeline.store.compaction.projections import PROJECTIONS
from pipeline.store.files import DataFolder
from pipeline.store.layout import marker_name
from pipeline.store.output import Output
from pipeline.store.verify import repairs
from pipeline.store.verify.checks import verify, verify_output
from pipeline.store.verify.repairs import repair
from pipeline.store.verify.report import CheckedOutput, Remedy, Report
from schemas import AGGREGATE_TABLES, TABLES, VALIDATION_TABLES
from tests.support.filled import RUN_KEY, commit

Overwrite = Callable[[Output, str, bytes], None]


def sweep(report: Report) -> CheckedOutput:
    return report.parts[0]


def found(output: Output, quick: bool = False) -> list[tuple[str, Remedy]]:
    """What is wrong, file by file."""
    return [(problem.path, problem.remedy) for problem in verify(output.url, quick).problems]


def said(output: Output) -> str:
    return "\n".join(problem.what for problem in verify(output.url).problems)


def markers(output: Output) -> list[Marker]:
    """Those of published shards first."""
    return sorted(output.committed(), key=lambda marker: marker.created)


def rows(output: Output) -> dict[str, list]:
    names = {name: output.dataset(name).to_table() for name in TABLES}
    return {name: sorted(map(repr, table.to_pylist())) for name, table in names.items()}


@pytest.mark.parametrize("quick", [False, True])
def test_what_was_written_is_sound(everywhere: Output, quick: bool) -> None:
    filled = everywhere
    report = verify(filled.url, quick)
    assert (report.problems, report.orphans) == ([], [])
    part = sweep(report)
    assert part.shards == 3
    assert {name: counted.rows for name, counted in part.tables.items()} == {
        name: filled.dataset(name).count_rows() for name in TABLES
    }
    assert part.notes == ["1 shards are not published yet: the end of a run does that"]


def test_it_is_sound_after_every_step(filled: Output) -> None:
    for step in (filled.compact, lambda: commit(filled, range(30, 32)), filled.compact):
        step()
        assert found(filled) == []
    filled.compact(everything=True)
    assert filled.vacuum().files > 0
    report = verify(filled.url)
    assert (report.problems, report.orphans, sweep(report).notes) == ([], [], [])
    assert sweep(report).tables["edges"].rows == sweep(report).tables["edges_by_source"].rows == 8 * 300


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("quick", [False, True])
def test_a_missing_file_is_found(local: Output, table: str, quick: bool) -> None:
    file = markers(local)[0].files[table]
    local.folder.delete([file.path])
    assert found(local, quick) == [(file.path, Remedy.REDO)]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda data: data[: len(data) // 2], "bytes instead of"),
        (lambda data: b"", "has 0 bytes"),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "its checksum differs"),
    ],
    ids=["cut", "empty", "a bit"],
)
def test_a_damaged_file_is_found_and_its_shard_done_again(
    filled: Output, overwrite: Overwrite, damage: Callable[[bytes], bytes], what: str
) -> None:
    before = rows(filled)
    for number, marker in enumerate(markers(filled)[1:], 1):  # one that is published, one that is not
        path = marker.files["edges"].path
        overwrite(filled, path, damage(filled.folder.read(path)))
        (problem,) = verify(filled.url).problems
        assert (problem.path, problem.remedy) == (path, Remedy.REDO)
        assert what in problem.what
        assert repair(filled.url) == [marker_name(marker.shard)]
        assert found(filled) == []
        assert filled.dataset("graphs").count_rows() == 4
        assert commit(filled, range(10 * number, 10 * number + 2)) == marker.shard
        assert filled.dataset("graphs").count_rows() == 6
    filled.publish(RUN_KEY)
    assert filled.delete_orphans(older_than=time.time() + 1000) is not None
    assert [len(table) for table in rows(filled).values()] == [len(table) for table in before.values()]
    report = verify(filled.url)
    assert (report.problems, report.orphans, sweep(report).notes) == ([], [], [])
    filled.compact()
    assert found(filled) == []


def test_a_repair_that_died_is_finished_by_the_next(
    local: Output, overwrite: Overwrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = markers(local)[0]
    overwrite(local, marker.files["nodes"].path, b"")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(local.folder), "delete", die)
        with pytest.raises(KeyboardInterrupt):
            repair(local.url)
    local.folder.delete(["_driver.json", "_upkeep.json"])
    assert marker_name(marker.shard) in {place for place, _ in found(local)}
    assert "a repair was interrupted" in said(local)
    with pytest.raises(StoreError, match=r"a repair of .* is at work or died"):
        next(local.committed())  # or a run would take the shard for done
    assert repair(local.url) == [marker_name(marker.shard)]
    assert found(local) == []
    assert marker.shard not in {left.shard for left in local.committed()}
    assert local.dataset("nodes").count_rows() == sum(m.rows["nodes"] for m in markers(local))


def test_a_repair_keeps_out_of_a_drivers_way(local: Output, overwrite: Overwrite) -> None:
    overwrite(local, markers(local)[0].files["nodes"].path, b"")
    with local.hold():
        assert "is at work" in sweep(verify(local.url)).notes[0]
        with pytest.raises(StoreError, match="is being written by process"):
            repair(local.url)


def compact_partly(output: Output, tables: int) -> None:
    """Leave what a compaction leaves that was killed after it had published some tables."""
    publish = compaction._publish
    published = []

    def publish_or_die(folder: DataFolder, table: str, manifest: object) -> None:
        if len(published) == tables:
            raise Killed
        published.append(table)
        publish(folder, table, manifest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "_publish", publish_or_die)
        patch.setattr(compaction, "delete_unpublished", lambda *_: None)
        with suppress(Killed):
            output.compact()


class Killed(BaseException):
    """The process is no more."""


def test_a_repair_refuses_a_shard_that_was_compacted_meanwhile(
    local: Output, overwrite: Overwrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction that slept, lost its lease and woke up beside the repair."""
    local.publish(RUN_KEY)
    path = markers(local)[0].files["activations"].path
    whole = local.folder.read(path)
    before = rows(local)
    with monkeypatch.context() as patch:

        def verify_then_compact(*arguments: object) -> CheckedOutput:
            overwrite(local, path, b"")
            found = verify_output(*arguments)
            overwrite(local, path, whole)
            compact(local.stored)
            return found

        patch.setattr(repairs, "verify_output", verify_then_compact)
        with pytest.raises(StoreError, match="was compacted during the repair"):
            repair(local.url)
    assert rows(local) == before
    assert found(local) == []


@pytest.mark.parametrize(("tables", "damage"), [(1, "values"), (2, "bit"), (3, "cut"), (4, "gone")])
def test_every_file_is_checked_after_a_compaction_that_was_killed_half_way(
    local: Output, overwrite: Overwrite, tables: int, damage: str
) -> None:
    local.publish(RUN_KEY)
    compact_partly(local, tables)
    assert found(local) == []
    for path in (marker.files["graphs"].path for marker in markers(local)):  # published last
        whole = local.folder.read(path)
        if damage == "values":
            sink, changed = pa.BufferOutputStream(), pa.parquet.read_table(pa.BufferReader(whole))
            entropy = changed.schema.get_field_index("entropy")
            changed = changed.set_column(
                entropy,
                changed.schema.field(entropy),
                pa.array([0.25] * changed.num_rows, pa.float64()).cast(changed.schema.field(entropy).type),
            )
            pa.parquet.write_table(changed, sink)
            overwrite(local, path, sink.getvalue().to_pybytes())
        elif damage == "bit":
            overwrite(local, path, whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        elif damage == "cut":
            overwrite(local, path, whole[:-9])
        else:
            local.folder.delete([path])
        assert (path, Remedy.RESTORE) in found(local)
        local.folder.replace(path, whole)
    assert found(local) == []


def test_the_last_version_of_one_table_lost_after_a_vacuum_is_a_problem_with_a_remedy(local: Output) -> None:
    local.compact()
    local.vacuum()
    (*_, last) = sorted(entry.name for entry in local.folder.list("edges/_delta_log"))
    local.folder.delete([last])
    problems = found(local)
    assert {remedy for _, remedy in problems} == {Remedy.RESTORE}
    assert {place.partition("/")[0] for place, _ in problems} == {"edges"}


def test_a_compacted_file_without_a_manifest_that_cannot_be_read_is_a_problem(
    local: Output, overwrite: Overwrite
) -> None:
    local.compact()
    local.folder.delete([entry.name for entry in local.folder.list("_compactions")])
    (path,) = local.snapshot().files["edges"]
    whole = local.folder.read(path)
    overwrite(local, path, b"\0" * len(whole))
    assert ("edges", Remedy.RESTORE) in found(local)
    overwrite(local, path, whole[:-1])
    assert (path, Remedy.RESTORE) in found(local)
    local.folder.delete([path])
    assert (path, Remedy.RESTORE) in found(local)


@pytest.mark.parametrize("data", [b"", b'{"format": 1', b"{}"])
def test_a_damaged_marker_is_found_and_its_shard_done_again(
    filled: Output, overwrite: Overwrite, data: bytes
) -> None:
    name = marker_name(markers(filled)[0].shard)
    overwrite(filled, name, data)
    assert found(filled) == [(name, Remedy.REDO)]
    assert repair(filled.url) == [name]
    assert found(filled) == []
    commit(filled, range(2))
    filled.publish(RUN_KEY)
    assert found(filled) == []
    assert filled.dataset("graphs").count_rows() == 6


def test_a_published_shard_without_a_marker_is_found(local: Output) -> None:
    name = marker_name(markers(local)[0].shard)
    local.folder.delete([name])
    assert found(local) == [(name, Remedy.REDO)]
    repair(local.url)
    assert (found(local), local.dataset("graphs").count_rows()) == ([], 4)


def test_a_marker_of_other_prompts_is_found(local: Output, overwrite: Overwrite) -> None:
    first, second = (marker_name(marker.shard) for marker in markers(local)[:2])
    told = json.loads(local.folder.read(first))
    overwrite(local, first, json.dumps(told | {"prompt_keys": [1, 2]}).encode())
    told = json.loads(local.folder.read(second))
    overwrite(local, second, json.dumps(told | {"failed_keys": told["failed_keys"] * 2}).encode())
    assert {place for place, _ in found(local, quick=True)} == {first, second}
    assert "do not give its shard's name" in said(local)
    assert "has other prompts than its marker" in said(local)
    assert "names 1 prompts twice" in said(local)


def test_an_overlapping_shard_that_does_not_count_is_only_noted(local: Output) -> None:
    tables = {name: local.dataset(name).to_table() for name in TABLES}
    first = tables["graphs"]["prompt_key"][0]
    part = {name: rows.filter(pc.equal(rows["prompt_key"], first)) for name, rows in tables.items()}
    assert local.commit("0" * 32, part)
    report = verify(local.url)
    assert report.sound
    assert any("do not count" in note for note in sweep(report).notes)


Rows = dict[str, pa.Table]


def doubled(table: str) -> Callable[[Rows], Rows]:
    return lambda rows: rows | {table: pa.concat_tables([rows[table], rows[table].slice(0, 1)])}


def without_first(table: str) -> Callable[[Rows], Rows]:
    return lambda rows: rows | {table: rows[table].slice(1)}


def with_value(table: str, column: str, value: int) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        place, field = rows[table].schema.get_field_index(column), rows[table].schema.field(column)
        values = [value, *rows[table][column].to_pylist()[1:]]
        return rows | {table: rows[table].set_column(place, field, pa.array(values, field.type))}

    return change


def with_loading(share: float) -> Callable[[Rows], Rows]:
    """Give the first edge one loading, of a share of its weight."""

    def alter(rows: Rows) -> Rows:
        (edge,) = rows["edges"].slice(0, 1).to_pylist()
        schema = TABLES["head_loadings"].schema
        path = {"path": "residual", "head_layer": None, "head": None, "key_position": None}
        row = {**edge, **path, "loading": share * edge["weight"], "share": share}
        return rows | {"head_loadings": pa.Table.from_pylist([row], schema=schema)}

    return alter


def test_loadings_that_sum_to_their_edge_are_sound(local: Output) -> None:
    committed_anew(local, with_loading(1.0))
    assert verify(local.url).problems == []


def committed_anew(local: Output, change: Callable[[Rows], Rows]) -> None:
    """Commit a shard again with its rows changed."""
    marker = markers(local)[2]
    good = {name: local.folder.read(file.path) for name, file in marker.files.items()}
    tables = {name: pa.parquet.read_table(pa.BufferReader(data)) for name, data in good.items()}
    local.folder.delete([marker_name(marker.shard)])
    local.commit(marker.shard, change(tables))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (doubled("graphs"), "1 rows are there twice"),
        (doubled("nodes"), "1 rows are there twice"),
        (doubled("edges"), "1 rows are there twice"),
        (doubled("activations"), "1 rows are there twice"),
        (without_first("nodes"), "edges have a source that is not among their prompt's nodes"),
        (without_first("nodes"), "too few or too many for `graphs.kept_nodes`"),
        (without_first("edges"), "too few or too many for `graphs.kept_edges`"),
        (without_first("activations"), "features are not among their prompt's activations"),
        (without_first("activations"), "too few or too many for `graphs.active_features`"),
        (with_value("reconstruction", "active_features", 999), "too few or too many for `graphs.active"),
        (with_value("edges", "target_feature", 10**6), "1 edges have a target that is not"),
        (with_value("qk", "score", 7), "1 scores are not the sum of their parts"),
        (with_loading(0.5), "1 edges are not the sum of their loadings"),
        (with_value("edges", "prompt_key", 5), "1 rows belong to no row of `graphs`"),
        (without_first("graphs"), "rows belong to no row of `graphs`"),
        (
            lambda rows: rows | {"edges": rows["edges"].drop_columns("influence")},
            "other columns than its table: influence",
        ),
    ],
)
def test_rows_that_do_not_fit_each_other_are_found(
    local: Output, change: Callable[[Rows], Rows], what: str
) -> None:
    """Files whose checksums are right, written by a program that was wrong."""
    committed_anew(local, change)
    problems = verify(local.url).problems
    assert any(what in problem.what for problem in problems)
    assert {problem.remedy for problem in problems} == {Remedy.REDO}
    repair(local.url)
    assert found(local) == []


def test_a_prompt_that_has_a_graph_and_a_failure_is_found(local: Output) -> None:
    marker = markers(local)[2]
    tables = {
        name: pa.parquet.read_table(pa.BufferReader(local.folder.read(file.path)))
        for name, file in marker.files.items()
    }
    local.folder.delete([marker_name(marker.shard)])
    both = with_value("failures", "prompt_key", marker.prompt_keys[0])(tables)
    local.commit(marker.shard, both)
    assert "1 prompts are in `graphs` too" in said(local)
    assert "names 1 prompts twice" in said(local)


def test_files_that_nothing_names_are_told_and_no_damage(filled: Output) -> None:
    shard = markers(filled)[0].shard
    left = [f"edges/_data/{shard}-1-aaaa.parq", f"nodes/_data/{'0' * 32}-1-bbbb.parq"]
    for name in left:
        filled.folder.write(name, b"unfinished")
    report = verify(filled.url)
    assert report.sound
    assert report.orphans == left
    filled.delete_orphans(older_than=time.time() + 1000)
    assert verify(filled.url).orphans == []


def test_a_damaged_log_is_found(local: Output, overwrite: Overwrite) -> None:
    overwrite(local, f"edges/_delta_log/{0:020}.json", b"{")
    assert "edges/_delta_log/00000000000000000000.json is damaged" in said(local)
    os.remove(Path(local.url, f"nodes/_delta_log/{0:020}.json"))


def test_a_table_that_was_not_published_with_the_others_is_found(local: Output) -> None:
    os.remove(Path(local.url, f"edges/_delta_log/{0:020}.json"))
    assert {(place.partition("/")[0], remedy) for place, remedy in found(local)} == {("edges", Remedy.RUN)}
    local.publish(RUN_KEY)
    assert found(local) == []


@pytest.mark.parametrize("quick", [False, True])
def test_a_damaged_projection_is_given_up_and_written_again(
    filled: Output, overwrite: Overwrite, quick: bool
) -> None:
    filled.compact()
    (path,) = filled.snapshot().projections["edges_by_target"]
    overwrite(filled, path, b"PAR1")
    assert found(filled, quick) == [(path, Remedy.PROJECTIONS)]
    (removed,) = repair(filled.url, quick)
    assert removed.startswith("_compactions/")
    assert found(filled) == []
    assert any("have no manifest" in note for note in sweep(verify(filled.url)).notes)
    filled.compact(everything=True)
    assert set(filled.snapshot().projections) == set(PROJECTIONS)
    assert found(filled) == []


def test_a_damaged_manifest_is_given_up(local: Output, overwrite: Overwrite) -> None:
    local.compact()
    (entry,) = local.folder.list("_compactions")
    overwrite(local, entry.name, b"{}")
    assert found(local) == [(entry.name, Remedy.PROJECTIONS)]
    assert repair(local.url) == [entry.name]
    assert found(local) == []


def test_a_damaged_compacted_file_is_explained_and_left_alone(filled: Output, overwrite: Overwrite) -> None:
    filled.compact()
    (path,) = filled.snapshot().files["edges"]
    overwrite(filled, path, filled.folder.read(path)[:-1])
    assert found(filled, quick=True) == [(path, Remedy.RESTORE)]
    assert found(filled) == [(path, Remedy.RESTORE)]
    assert repair(filled.url) == []
    assert filled.folder.exists(path)


def test_compacted_rows_that_do_not_fit_their_markers_are_found(local: Output) -> None:
    local.compact()
    shard = markers(local)[0].shard
    local.folder.delete([marker_name(shard)])
    assert (marker_name(shard), Remedy.RESTORE) in found(local, quick=True)
    assert "has other prompts in compacted files than its shards' markers name" not in said(local)


def test_what_a_compaction_replaced_only_matters_for_earlier_versions(
    local: Output, overwrite: Overwrite
) -> None:
    path = markers(local)[0].files["edges"].path
    local.compact()
    overwrite(local, path, b"")
    assert found(local) == [(path, Remedy.VACUUM)]
    local.vacuum()
    assert found(local) == []


def test_a_place_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no sweep"):
        verify(str(tmp_path))


def test_mined_tables_and_validations_are_looked_at(local: Output, overwrite: Overwrite) -> None:
    result = AggregateResult.of(local.snapshot(), "stats", {})
    schema = AGGREGATE_TABLES["feature_stats"].schema
    file = result.write("feature_stats", schema.empty_table().drop_columns("grouped_by"), 0)
    manifest = result.commit(
        {"feature_stats": [file]},
        StatisticsInfo(groups={}, clusters={}, mixed_clusters=0, left_out=0, tests={}, nearest={}),
    )
    validation = Output(f"{local.url}/validation", VALIDATION_TABLES)
    validation.claim({}, 5)
    report = verify(local.url)
    assert report.sound
    assert [part.name for part in report.parts] == ["sweep", "validation", f"aggregate {result.key}"]

    (kept,) = manifest.files["feature_stats"]
    overwrite(local, kept.path, b"")
    assert found(local, quick=True) == found(local) == [(kept.path, Remedy.AGGREGATE)]
    assert repair(local.url) == [f"_aggregates/{result.key}.json"]
    assert found(local) == []
