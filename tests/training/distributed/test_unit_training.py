"""A unit that is left anywhere, and gone on with by others, ends with the bits of one that was not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from pipeline.errors import DamageError, StoreError, TranscoderError
from pipeline.runtime import Member, StageError
from pipeline.store import open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.assembly import assemble
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.claim import check_claim, read_claim
from pipeline.training.distributed.layout import CLAIM, state_url
from pipeline.training.distributed.process_group import ProcessGroup
from pipeline.training.distributed.run import located
from pipeline.training.distributed.sizing import sizes_of
from pipeline.training.distributed.text import prepare_shared_tokens
from pipeline.training.distributed.unit_training import UnitTraining
from pipeline.training.distributed.verify import verify_training
from pipeline.training.layer_group import LayerGroup
from pipeline.training.recipe import Schedule
from pipeline.transcoders import load_transcoders
from tests.support.tiny_training import (
    EVERY,
    RESOURCES,
    STEPS,
    exported,
    go_on,
    prepare,
    run_gang,
    same_bits,
    saved,
    tiny_dictionary,
)

Export = list[dict[str, torch.Tensor]]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipeline.training.distributed.unit_training.UnitTraining.is_due",
        lambda self, step: step % EVERY == 0 and step > 0,
    )


@pytest.fixture(scope="module")
def undisturbed(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    config = tiny_dictionary(files, tmp_path_factory.mktemp("undisturbed") / "out")
    (unit,) = prepare(config)
    go_on(config, unit)
    return exported(config, unit)


def stopping_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Member:
    """A member that is told to stop while it takes a step."""
    member, original = Member(RESOURCES, 0, 1, 0), LayerGroup.step

    def watched(group: LayerGroup, rows: object) -> object:
        if group.step_number == step:
            member.stop.set()
        return original(group, rows)

    monkeypatch.setattr(LayerGroup, "step", watched)
    return member


def test_a_notice_saves_one_more_and_the_next_goes_on_to_the_same_bits(
    files: Path, tmp_path: Path, undisturbed: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    for step in (3, 4, 26):
        with monkeypatch.context() as patch:
            go_on(config, unit, stopping_at(step, patch))
        assert saved(config, unit) == step + 1
    go_on(config, unit)
    assert same_bits(exported(config, unit), undisturbed)


def test_where_machines_come_and_go_it_saves_more_often(files: Path, tmp_path: Path) -> None:
    """Ten times as often where lives are a hundredth as long; never less often than asked for."""
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    member = Member(RESOURCES, 0, 1, 0)
    training = UnitTraining(open_folder(state_url(config.output)), config, unit, member, ProcessGroup())
    assert training.pause == 300
    pauses = []
    for life in (1e9, 12_000.0, 120.0):
        member.mean_life = life
        pauses.append(training.pause)
    assert pauses == pytest.approx([300, 49, 4.9], rel=0.01)
    training._save_seconds = 10.0
    assert training.pause == pytest.approx(49, rel=0.01)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_process_killed_at_random_steps_costs_nothing_but_time(
    files: Path, tmp_path: Path, undisturbed: Export
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    random = torch.Generator().manual_seed(0)
    for step in sorted(torch.randperm(STEPS, generator=random)[:5].tolist()):
        assert run_gang(config, unit, die_at=step) == [-9]
        kept = saved(config, unit)
        assert step - kept <= EVERY, "the last checkpoint that was complete is the one that counts"
    assert run_gang(config, unit) == [0]
    assert same_bits(exported(config, unit), undisturbed)


def test_from_a_start_it_goes_on_to_the_same_bits_too(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny_dictionary(files, tmp_path / "first")
    (unit,) = prepare(first)
    assemble(go_on(first, unit).folder, first, [unit], Member(RESOURCES, 0, 1, 0))
    exports = []
    for name, stops in (("at once", ()), ("in parts", (3, 26))):
        config = tiny_dictionary(files, tmp_path / name, start=first.output)
        prepare(config)
        for step in stops:
            with monkeypatch.context() as patch:
                go_on(config, unit, stopping_at(step, patch))
            assert saved(config, unit) == step + 1
        go_on(config, unit)
        exports.append(exported(config, unit))
    assert same_bits(*exports)


@pytest.mark.usefixtures("often")
def test_a_flipped_byte_is_passed_over_for_the_checkpoint_before(
    files: Path,
    tmp_path: Path,
    undisturbed: Export,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    with monkeypatch.context() as patch:
        go_on(config, unit, stopping_at(24, patch))
    flip(config, unit.name, steps=[25])
    with caplog.at_level("WARNING"):
        assert go_on(config, unit).saver.saved == STEPS
    assert "the checkpoint of step 25 is passed over" in caplog.text
    assert same_bits(exported(config, unit), undisturbed)


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    with monkeypatch.context() as patch:
        go_on(config, unit, stopping_at(24, patch))
    flip(config, unit.name, steps=[25])
    with pytest.raises(DamageError, match=r"no checkpoint of layers-000-003 .* is whole: restore one"):
        go_on(config, unit)


def flip(config: DictionaryConfig, unit: str, steps: list[int]) -> None:
    checkpoints = Checkpoints(open_folder(state_url(config.output)), unit)
    for marker in checkpoints.markers():
        if marker.step in steps:
            data = bytearray(checkpoints.folder.read(marker.shards[0].name))
            data[len(data) // 2] ^= 4
            checkpoints.folder.replace(marker.shards[0].name, bytes(data))


def test_groups_of_any_size_give_the_same_bits(files: Path, tmp_path: Path, undisturbed: Export) -> None:
    for groups in (2, 4):
        config = tiny_dictionary(files, tmp_path / f"{groups}")
        parts: dict[str, torch.Tensor] = {}
        for unit in prepare(config, groups):
            go_on(config, unit)
            parts |= exported(config, unit)[0]
        assert same_bits([parts], undisturbed)


def test_more_tokens_go_on_from_before_the_decay_to_the_bits_of_one_long_training(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(short)
    go_on(short, unit)
    config = tiny_dictionary(files, tmp_path / "out", tokens=2 * short.tokens)
    assert prepare(config) == [unit]
    go_on(config, unit)
    # One long training, with the rates and the warm-up that were chosen by the length of the first.
    once = tiny_dictionary(files, tmp_path / "once", tokens=2 * short.tokens)
    schedule = Schedule.of(short).longer(once)
    monkeypatch.setattr(Schedule, "of", classmethod(lambda cls, config: schedule))
    prepare(once)
    go_on(once, unit)
    assert same_bits(exported(config, unit), exported(once, unit))


def test_another_configuration_is_refused_with_the_difference(files: Path, tmp_path: Path) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    prepare(config)
    state = open_folder(state_url(config.output))
    assert check_claim(state, tiny_dictionary(files, tmp_path / "out", checkpoint_minutes=1, groups=2))
    with pytest.raises(StoreError, match=r"another configuration(.|\n)*features: 32 -> 64(.|\n)*k: 4 -> 3"):
        check_claim(state, tiny_dictionary(files, tmp_path / "out", features=64, k=3))


def test_a_model_is_known_by_its_content_wherever_it_lies(files: Path, tmp_path: Path) -> None:
    """A job on a cluster finds model and text in another folder each time."""
    prepare(tiny_dictionary(files, tmp_path / "out"))
    moved = tmp_path / "moved"
    shutil.copytree(files, moved)
    config = tiny_dictionary(files, tmp_path / "out", model=str(moved / "model"))
    state = open_folder(state_url(config.output))
    assert check_claim(state, config)
    assert prepare_shared_tokens(state, config, lambda documents: None).description.train.documents
    (moved / "model" / "config.json").write_text((moved / "model" / "config.json").read_text() + " ")
    with pytest.raises(StoreError, match=r"model\.content: xxh3-128:\w+ -> xxh3-128:\w+"):
        check_claim(state, config)


def test_a_number_that_is_none_stops_the_unit_with_its_state_kept(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)
    step = LayerGroup.step

    def spoilt(group: LayerGroup, rows: dict) -> object:
        if group.step_number == 11:
            rows[2].outputs[5, 3] = torch.nan
        return step(group, rows)

    with monkeypatch.context() as patch:
        patch.setattr(LayerGroup, "step", spoilt)
        with pytest.raises(StageError, match=r"layer 2, step 11: the loss is nan.* The batch is number"):
            go_on(config, unit)
    assert saved(config, unit) == 11


def test_memory_that_is_used_up_is_said_with_the_way_out(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dictionary(files, tmp_path / "out")
    (unit,) = prepare(config)

    def too_large(group: LayerGroup, rows: object) -> None:
        torch.empty(1 << 60)

    monkeypatch.setattr(LayerGroup, "step", too_large)
    with pytest.raises(StageError, match=r"the memory is used up; .* Lower batch"):
        go_on(config, unit)


def test_the_plan_knows_parameters_and_files_to_the_byte_but_for_headers(files: Path, tmp_path: Path) -> None:
    for kind in ("plt", "skip", "clt"):
        config = tiny_dictionary(
            files, tmp_path / kind, kind=kind, features=1024, tokens=2 * 64, dtype="bfloat16"
        )
        (unit,) = prepare(config)
        training = go_on(config, unit)
        marker = next(one for one in training.checkpoints.markers() if one.step is not None)
        tensors, _ = training.checkpoints.read(marker, 0)
        weights = [tensor for name, tensor in tensors.items() if ".weights." in name]
        shape = sizes_of(config).shape
        assert shape.parameters == sum(tensor.numel() for tensor in weights)
        held = sum(tensor.nbytes for name, tensor in tensors.items() if ".silent" not in name)
        gradients = sum(tensor.nbytes for tensor in weights)
        assert shape.state_bytes == pytest.approx(held + gradients, rel=0.05)
        assemble(training.folder, config, [unit], Member(RESOURCES, 0, 1, 0))
        written = sum(path.stat().st_size for path in (tmp_path / kind).glob("*.safetensors"))
        assert shape.file_bytes() == pytest.approx(written, rel=0.02)


@pytest.mark.faults
def test_a_full_disk_keeps_what_was_there_and_with_room_it_goes_on(
    files: Path, tmp_path: Path, undisturbed: Export, often: None
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs more rights than this user or container has")
    try:
        config = tiny_dictionary(files, disk / "out")
        (unit,) = prepare(config)
        ballast = disk / "ballast"
        free = os.statvfs(disk)
        ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - 220_000))
        with pytest.raises(StoreError, match="No space left"):
            go_on(config, unit)
        kept = saved(config, unit)
        assert 0 < kept < STEPS
        ballast.unlink()
        go_on(config, unit)
        assert same_bits(exported(config, unit), undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_on_s3_it_is_the_same(
    files: Path, s3_url: str, tmp_path: Path, undisturbed: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dictionary(files, s3_url)
    (unit,) = prepare(config)
    with monkeypatch.context() as patch:
        go_on(config, unit, stopping_at(24, patch))
    assert saved(config, unit) == 25
    training = go_on(config, unit)
    assert same_bits(exported(config, unit), undisturbed)
    assemble(training.folder, config, [unit], Member(RESOURCES, 0, 1, 0))
    check = verify_training(s3_url)
    assert (check.problems, check.orphans) == ([], [])
    assert check.files > 8
    read_from_the_store(s3_url, tmp_path, monkeypatch)


def read_from_the_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep takes the dictionary by its URL: whole, and as it was written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_transcoders(url).n_layers == 4
    folder = open_folder(url)
    whole = folder.read("layer_1.safetensors")
    folder.replace("layer_1.safetensors", whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(TranscoderError, match=r"layer_1\.safetensors is not what was written.* verify"):
        load_transcoders(url)
    folder.replace("layer_1.safetensors", whole)
    assert load_transcoders(url).n_layers == 4
    folder.delete([".training/dictionary.json"])
    with pytest.raises(TranscoderError, match="are still being trained: `circuit-sweep status"):
        load_transcoders(url)


def test_paths_mean_the_same_in_every_process(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    config = located(tiny_dictionary(files, "mine", against="other"))
    assert (config.against, config.output) == (str(tmp_path / "other"), str(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        ('{"format": 1, "config": {}, "units": []}', StoreError, "of format 1.*the version that began it"),
        ('{"format": 2, "config": {}}', DamageError, "training.json is damaged: Field required"),
        ("[]", DamageError, "training.json is damaged"),
    ],
)
def test_a_claim_that_cannot_be_gone_on_with_is_refused(
    tmp_path: Path, written: str, error: type[StoreError], message: str
) -> None:
    folder = open_folder(str(tmp_path))
    folder.replace(CLAIM, written.encode())
    with pytest.raises(error, match=message):
        read_claim(folder)
