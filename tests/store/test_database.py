"""DuckDB fetches no code by itself, wherever it is opened."""

from __future__ import annotations

import ast
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import QueryError
from pipeline.results.results import Results
from pipeline.store.database import open_database
from pipeline.store.output import Output

ROOT = Path(__file__).parents[2]


def test_duckdb_is_opened_in_one_function() -> None:
    opening = []
    for path in (path for top in ("pipeline", "jobs") for path in (ROOT / top).rglob("*.py")):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        opening += [str(path.relative_to(ROOT)) for call in calls if ast.unparse(call) == "duckdb.connect"]
        # Handed on as a function, it would be called without the settings just as well.
        opening += [str(path.relative_to(ROOT))] * path.read_text().count("(duckdb.connect")
    assert opening == ["pipeline/store/database.py"]


def test_settings_of_a_caller_come_on_top() -> None:
    names = "'autoinstall_known_extensions', 'autoload_known_extensions', 'threads'"
    found = open_database({"threads": 3}).sql(
        f"select name, value from duckdb_settings() where name in ({names}) order by name"
    )
    assert found.fetchall() == [
        ("autoinstall_known_extensions", "false"),
        ("autoload_known_extensions", "false"),
        ("threads", "3"),
    ]


@pytest.mark.parametrize(
    ("query", "extension"),
    [
        ("select * from 'https://127.0.0.1:9/x.parquet'", "httpfs"),
        ("select * from 's3://bucket/x.parquet'", "httpfs"),
        ("select * from read_xlsx('x.xlsx')", "excel"),
        ("select st_point(1, 2)", "spatial"),
    ],
)
def test_a_query_that_needs_an_extension_says_so_and_installs_none(
    random_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, extension: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(QueryError, match=extension):
        Results(random_output).sql(query)
    assert not (tmp_path / "home").exists()


def test_what_duckdb_brings_along_still_works(random_output: Output, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "x.json").write_text('{"a": 1}')
    results = Results(random_output)
    for name in ("x.csv", "x.json"):
        assert results.sql(f"select a from '{tmp_path / name}'").fetchall() == [(1,)]
    assert isinstance(results.sql("select current_date"), duckdb.DuckDBPyRelation)
