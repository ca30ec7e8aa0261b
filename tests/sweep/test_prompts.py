from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError
from pipeline.sweep.config import TargetsConfig
from pipeline.sweep.prompts.reader import Prompt, open_prompts
from pipeline.sweep.prompts_config import PromptsConfig


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        case ".csv" | ".tsv":
            mark = "," if path.suffix == ".csv" else "\t"
            lines = [mark.join(rows[0]), *(mark.join(map(str, row.values())) for row in rows)]
            path.write_text("\n".join(lines) + "\n")
    return str(path)


ROWS = [{"id": f"q{i}", "prompt": f"text {i}", "year": 1900 + i} for i in range(5)]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_every_format_gives_the_same_prompts(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"p{suffix}", ROWS)
    prompts = open_prompts(PromptsConfig(source=source, columns=("year",)))
    assert list(prompts) == [Prompt(row["id"], row["prompt"], {"year": row["year"]}) for row in ROWS]
    assert prompts.extra_columns == pa.schema([("year", pa.int64())])
    assert prompts.total == 5


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("first\n\nthird\n")
    prompts = open_prompts(PromptsConfig(source=str(path)))
    assert [(prompt.id, prompt.content) for prompt in prompts] == [("0", "first"), ("2", "third")]


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    for part in range(2):
        write(tmp_path / f"part{part}.jsonl", ROWS[part * 2 : part * 2 + 2])
    prompts = open_prompts(PromptsConfig(source=str(tmp_path / "*.jsonl")))
    assert [prompt.id for prompt in prompts] == ["q0", "q1", "q2", "q3"]
    assert prompts.total == 4


def test_token_ids_are_read_from_their_column(tmp_path: Path) -> None:
    source = write(tmp_path / "p.parquet", [{"ids": [1, 5, 6]}, {"ids": [1, 7]}])
    prompts = open_prompts(PromptsConfig(source=source, token_ids="ids"))
    assert [prompt.content for prompt in prompts] == [[1, 5, 6], [1, 7]]


def test_a_limit_stops_early_and_may_be_read_twice(tmp_path: Path) -> None:
    prompts = open_prompts(PromptsConfig(source=write(tmp_path / "p.jsonl", ROWS), limit=2))
    assert [prompt.id for prompt in prompts] == [prompt.id for prompt in prompts] == ["q0", "q1"]
    assert prompts.total == 2


def test_many_rows_come_in_their_order_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join("" if row % 50 == 3 else f"text {row}" for row in range(1000)))
    for limit, last in ((None, 999), (200, 199)):
        prompts = list(open_prompts(PromptsConfig(source=str(path), limit=limit)))
        rows = [row for row in range(last + 1) if row % 50 != 3]
        assert [prompt.id for prompt in prompts] == [str(row) for row in rows]
        assert [prompt.content for prompt in prompts] == [f"text {row}" for row in rows]


def test_a_type_is_found_past_leading_nulls(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "year": None}, {"prompt": "b", "year": 3}]
    prompts = open_prompts(PromptsConfig(source=write(tmp_path / "p.jsonl", rows), columns=("year",)))
    assert prompts.extra_columns.field("year").type == pa.int64()


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_words_that_others_take_for_nothing_are_words(tmp_path: Path, suffix: str) -> None:
    words = ["NA", "None", "null", "nan", "N/A", "", "007", "True", "x"]
    rows = [{"id": w, "prompt": w, "answer": w, "family": w, "year": 3, "empty": ""} for w in words]
    config = PromptsConfig(source=write(tmp_path / f"p{suffix}", rows), columns=("family", "year", "empty"))
    prompts = open_prompts(config, TargetsConfig(column="answer"))
    found = list(prompts)
    assert [(p.id, p.content, p.targets) for p in found] == [(w, w, w) for w in words]
    assert [p.columns["family"] for p in found] == [w or None for w in words]
    assert {(p.columns["year"], p.columns["empty"]) for p in found} == {(3, None)}
    assert prompts.extra_columns.field("year").type == pa.int64()


def test_a_missing_number_is_still_missing(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,year\na,3\nb,NA\nc,\n")
    prompts = list(open_prompts(PromptsConfig(source=str(path), columns=("year",))))
    assert [prompt.columns["year"] for prompt in prompts] == [3, None, None]


OPENERS = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path, _: pa.CompressedOutputStream(str(path), "zstd"),
}


@pytest.mark.parametrize("suffix", ["", *OPENERS])
@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")])
def test_a_row_nested_without_end_is_refused_and_ends_nothing(
    tmp_path: Path, suffix: str, pair: Sequence[str]
) -> None:
    deep = '{"prompt": "a", "x": ' + pair[0] * 200_000 + "1" + pair[1] * 200_000 + "}\n"
    path = tmp_path / f"p.jsonl{suffix}"
    with OPENERS.get(suffix, open)(path, "wb") as file:
        file.write(b'{"prompt": "fine", "x": 1}\n' + deep.encode())
    with pytest.raises(ConfigurationError, match=r"line 2 has brackets 100 deep .* Leave that row out"):
        open_prompts(PromptsConfig(source=str(path)))


def test_brackets_in_a_prompt_are_words(tmp_path: Path) -> None:
    text = "[" * 5000 + '\\"' + "{" * 5000
    (prompt,) = open_prompts(PromptsConfig(source=write(tmp_path / "p.jsonl", [{"prompt": text}])))
    assert prompt.content == text


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_small_file_with_a_line_of_gigabytes_is_not_read_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.jsonl{suffix}"
    with OPENERS[suffix](path, "wb") as file:
        file.write(b'{"prompt": "')
        for _ in range(65):
            file.write(b"a" * (1 << 20))
        file.write(b'"}\n')
    with pytest.raises(ConfigurationError, match="line 1 is longer than 64 MB"):
        open_prompts(PromptsConfig(source=str(path)))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_rows_of_compressed_files_are_counted(tmp_path: Path, suffix: str) -> None:
    plain = Path(write(tmp_path / "p.jsonl", ROWS))
    with OPENERS[suffix](tmp_path / f"p.jsonl{suffix}", "wb") as file:
        file.write(plain.read_bytes())
    prompts = open_prompts(PromptsConfig(source=str(tmp_path / f"p.jsonl{suffix}")))
    assert prompts.total == 5 == len(list(prompts))


def test_prompts_flow_before_the_end_of_the_file_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    line = json.dumps({"prompt": "x" * 200}) + "\n"
    path.write_text(line * 150_000 + "{broken")
    prompts = iter(open_prompts(PromptsConfig(source=str(path))))
    assert sum(1 for _ in islice(prompts, 20_000)) == 20_000
    with pytest.raises(ConfigurationError, match=r"cannot be read after row \d\d\d\d\d"):
        list(prompts)


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("gone.jsonl", None, {}, "gone.jsonl' does not exist"),
        ("p.jsonl", '{"question": "a", "n": 1}', {}, "no column 'prompt'; it has question, n"),
        ("p.jsonl", '{"prompt": "a"}', {"columns": ("famly",)}, "no column 'famly'; it has prompt"),
        ("p.jsonl", '{"prompt": "a"}', {"id": "key"}, "no column 'key'"),
        ("p.jsonl", '{"prompt": 3, "n": 1}', {}, "holds int64, not text"),
        ("p.jsonl", '{"prompt": "a"}', {"token_ids": "prompt"}, "needs lists of integers"),
        ("p.jsonl", "", {}, "is empty"),
        ("p.csv", "prompt,n\n", {}, "is empty"),
        ("p.jsonl", '{"prompt": ', {}, "cannot be read as json"),
        ("p.parquet", "not parquet", {}, "cannot be read as parquet"),
        ("p.docx", "x", {}, "none of the endings .parquet"),
        ("p.xlsx", "x", {}, "p.xlsx' is a spreadsheet"),
        ("gone.ods", None, {}, "gone.ods' is a spreadsheet"),
        ("p.csv", "id;prompt\nq1;a, b\n", {}, "separated by semicolons"),
        ("p.csv", "id;prompt\nq1;a\n", {"text": "prompt"}, "separated by semicolons"),
        ("p.jsonl", '{"prmpt": "a", "n": 1}', {}, "Did you mean 'prmpt'?"),
        ("p.jsonl", '{"prompt": "a", "family": "b"}', {"columns": ("famly",)}, "Did you mean 'family'?"),
    ],
)
def test_bad_prompts_are_refused(
    tmp_path: Path, name: str, content: str | None, settings: dict[str, Any], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        open_prompts(PromptsConfig(source=str(tmp_path / name), **settings))
    assert message in str(caught.value)


def test_a_dataset_that_cannot_be_had_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'nobody/nothing' not found"):
        open_prompts(PromptsConfig(source="nobody/nothing"))
