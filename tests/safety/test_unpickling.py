"""Nothing is unpickled and no foreign code runs: over the sources, and with files that try."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.errors import CircuitSweepError
from pipeline.model.replacement_model import ReplacementModel
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.prompts.reader import BUILDERS, open_prompts
from pipeline.sweep.prompts_config import PromptsConfig
from pipeline.transcoders.load import load_transcoders
from tests.support import written_formats
from tests.support.tiny_model import make_model, make_transcoders

ROOT = Path(__file__).parents[2]
SOURCES = [path for room in ("pipeline", "jobs", "schemas") for path in sorted((ROOT / room).rglob("*.py"))]

UNPICKLERS = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}

LOADERS = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"}
"""Calls that unpickle, or may."""


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_or_asks_for_foreign_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert UNPICKLERS.isdisjoint(imported(tree))
    for call in calls(tree):
        assert ast.unparse(call.func) not in LOADERS, f"line {call.lineno}"
        for keyword in call.keywords:
            if keyword.arg in ("allow_pickle", "trust_remote_code"):
                assert ast.unparse(keyword.value) != "True", f"line {call.lineno}"
            if keyword.arg in ("use_safetensors", "weights_only"):
                assert ast.unparse(keyword.value) == "True", f"line {call.lineno}"


def test_foreign_code_is_off_unless_asked_for() -> None:
    assert SweepConfig.model_fields["trust_remote_code"].default is False
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs]
                defaults = [*([None] * (len(node.args.args) - len(node.args.defaults))), *node.args.defaults]
                defaults += node.args.kw_defaults
                for argument, default in zip(arguments, defaults, strict=True):
                    if argument.arg == "trust_remote_code" and default is not None:
                        assert ast.unparse(default) == "False", f"{path}:{node.lineno}"


class Payload:
    """What an attacker puts into a file: unpickling it leaves a trace."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("unpickled"),))


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"W_enc": Payload()}))


def torch_archive(path: Path) -> None:
    torch.save({"W_enc": Payload()}, path)


def array_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W_enc.npy", pickle.dumps(Payload()))


ATTACKS = [plain_pickle, torch_archive, array_archive]


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list((tmp_path / "here").iterdir()) == []


def test_the_payload_would_leave_a_trace(tmp_path: Path) -> None:
    plain_pickle(tmp_path / "bait")
    pickle.loads((tmp_path / "bait").read_bytes())
    Path("unpickled").unlink()


WRITERS = [
    written_formats.circuit_tracer_plt,
    written_formats.circuit_tracer_clt,
    written_formats.crosslayer_transcoder,
    written_formats.gemma_scope,
    written_formats.gemma_scope_2,
    written_formats.gemma_scope_2_clt,
    written_formats.sae_lens,
    written_formats.sparsify,
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("writer", WRITERS)
def test_no_dictionary_format_unpickles(writer, attack, tmp_path: Path) -> None:
    folder = writer(tmp_path / "set").folder
    weights = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npz")]
    assert weights
    for path in weights:
        attack(path)
    with pytest.raises(CircuitSweepError):
        load_transcoders(str(folder)).layers  # noqa: B018


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "flax_model.msgpack"])
def test_no_model_file_is_unpickled(name: str, attack, tmp_path: Path) -> None:
    model = Path(make_model(tmp_path / "model"))
    (model / "model.safetensors").unlink()
    attack(model / name)
    with pytest.raises(CircuitSweepError):
        ReplacementModel.from_pretrained(str(model), transcoders=make_transcoders(tmp_path / "set"))


def test_a_models_own_code_is_not_run(tmp_path: Path) -> None:
    model = Path(make_model(tmp_path / "model"))
    (model / "evil.py").write_text("import pathlib\npathlib.Path('unpickled').touch()\nclass Evil: pass\n")
    config = json.loads((model / "config.json").read_text())
    classes = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": "evil.Evil"}
    (model / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": classes}))
    with pytest.raises(CircuitSweepError):
        ReplacementModel.from_pretrained(str(model), transcoders=make_transcoders(tmp_path / "set"))


@pytest.mark.parametrize("suffix", [*BUILDERS, ".pkl", ".pickle", ".pt"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_prompt_file_is_unpickled(suffix: str, attack, tmp_path: Path) -> None:
    attack(tmp_path / f"prompts{suffix}")
    try:
        list(open_prompts(PromptsConfig(source=str(tmp_path / f"prompts{suffix}"))))
    except CircuitSweepError:
        return
    assert suffix in (".txt", ".csv", ".tsv")  # any bytes are lines of text


def test_a_datasets_own_script_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "prompts.py").write_text("import pathlib\npathlib.Path('unpickled').touch()\n")
    with pytest.raises(CircuitSweepError):
        open_prompts(PromptsConfig(source=str(folder)))
    shutil.copy(folder / "prompts.py", tmp_path / "script.py")
    with pytest.raises(CircuitSweepError):
        open_prompts(PromptsConfig(source=str(tmp_path / "script.py")))
