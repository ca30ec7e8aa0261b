from __future__ import annotations

import json

import pytest

from jobs.schema import main
from pipeline.errors import ConfigurationError
from schemas import TABLES


@pytest.mark.parametrize("flags", [[], ["--markdown"]], ids=["plain", "markdown"])
def test_the_page_tells_every_column_of_every_table(flags: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(flags) == 0
    words = {word.strip("`:") for word in capsys.readouterr().out.split()}
    for table in TABLES.values():
        assert {table.name, *table.schema.names} <= words


def test_the_page_is_plain_where_nobody_looks(capsys: pytest.CaptureFixture) -> None:
    main([])
    assert "\x1b" not in capsys.readouterr().out


def test_markdown_has_the_same_cells_in_each_row(capsys: pytest.CaptureFixture) -> None:
    main(["--markdown"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert {row.count(" | ") for row in rows} == {3}


def test_tables_can_be_named(capsys: pytest.CaptureFixture) -> None:
    assert main(["nodes", "diff_edges"]) == 0
    printed = capsys.readouterr().out
    assert "nodes:" in printed
    assert "diff_edges:" in printed
    assert "graphs:" not in printed


def test_columns_are_rows_for_programs(capsys: pytest.CaptureFixture) -> None:
    assert main(["nodes", "edges", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["column"] for row in rows if row["table"] == "edges"] == TABLES["edges"].schema.names


def test_an_unknown_table_is_met_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no table is called 'node'; there are graphs, nodes, edges"):
        main(["node"])
