"""The trainer on planted rows: gradients, bits, shards, groups, and what it must find."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training import LayerGroup, TrainingState
from pipeline.training.data import LayerRows
from tests.support.training import PlantedRows, batch_of, begin, dictionary, in_threads, train

ACTIVATIONS = ("batchtopk", "topk", "jumprelu", "relu")


def planted(layers: int = 2, **changes) -> PlantedRows:
    return PlantedRows(**({"directions": 40, "width": 24, "active": 3, "layers": layers} | changes))


@pytest.mark.parametrize("kind", ["plt", "skip"])
def test_gradients_are_those_of_the_loss_as_it_is_written(kind, monkeypatch):
    config = dictionary(kind=kind, steps=30, dead_after=128)
    group, rows = begin(config, planted(1))
    train(group, rows, until=20)
    layer, batch = group.layers[0], batch_of(rows, config, 20)
    layer.silent[::3] = 10_000  # dead, so that the auxiliary loss counts
    x, y = layer.normalisation.inputs(batch[0].inputs), layer.normalisation.outputs(batch[0].outputs)
    weights = {name: t.detach().double().requires_grad_() for name, t in layer.weights.named().items()}
    x, y = x.double(), y.double()
    preactivations = x @ weights["encoder"].T + weights["encoder_bias"]
    scores = preactivations.relu() * weights["decoder.0"].norm(dim=1)
    cut = scores.detach().flatten().sort(descending=True).values[group.schedule.active(20) * len(x) - 1]
    found = (preactivations * (scores >= cut)) @ weights["decoder.0"] + weights["decoder_bias"]
    if kind == "skip":
        found = found + x @ weights["skip"]
    error = (y - found).detach()
    dead = (layer.silent >= config.dead_after).nonzero().squeeze(1)
    k = min(12, len(dead))
    best = preactivations.relu()[:, dead].topk(k, dim=1)
    revived = torch.zeros_like(preactivations[:, dead]).scatter(1, best.indices, best.values)
    missed = (error - revived @ weights["decoder.0"][dead]).square().sum()
    auxiliary = missed / (error - error.mean(0)).square().sum() * min(1, len(dead) / 12)
    ((y - found).square().mean() + auxiliary / 32).backward()
    seen = {}
    monkeypatch.setattr(
        type(layer),
        "update",
        lambda self, *_: seen.update({name: t.grad.clone() for name, t in self.weights.named().items()}),
    )
    group.step(batch)
    for name, tensor in weights.items():
        scale = float(tensor.grad.abs().max())
        torch.testing.assert_close(seen[name].double(), tensor.grad, rtol=0, atol=2e-5 * scale, msg=name)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_training_that_was_stopped_ends_in_the_same_bytes(activation, tmp_path):
    config = dictionary(kind="skip", activation=activation, dead_after=512)
    whole, rows = begin(config, planted())
    train(whole, rows)
    stopped, _ = begin(config, planted())
    for until in (3, 17, 31):
        train(stopped, rows, until)
        stopped.state().save(tmp_path / "state")
        stopped = LayerGroup.resume(config, TrainingState.load(tmp_path / "state"))
    train(stopped, rows)
    whole.state().save(tmp_path / "whole")
    stopped.state().save(tmp_path / "stopped")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "stopped").read_bytes()


def test_a_stopped_cross_layer_training_ends_in_the_same_bytes(tmp_path):
    config = dictionary(kind="clt", steps=20)

    def work(shard, stop):
        group, rows = begin(config, planted(), shard=shard)
        if stop:
            train(group, rows, stop)
            group = LayerGroup.resume(config, group.state(), shard)
        train(group, rows)
        group.state().save(tmp_path / f"{shard.rank}-{stop}")

    for stop in (0, 11):
        in_threads(2, lambda shard, stop=stop: work(shard, stop))
    for rank in (0, 1):
        assert (tmp_path / f"{rank}-0").read_bytes() == (tmp_path / f"{rank}-11").read_bytes()


def test_layers_alone_have_the_bits_of_layers_together():
    config, source = dictionary(), planted(3)
    together, rows = begin(config, source)
    normalisations = source.normalisations(rows)
    train(together, rows)
    for layer in range(3):
        alone = LayerGroup.begin(config, 3, {layer: normalisations[layer]})
        train(alone, {layer: rows[layer]})
        for name, tensor in alone.state().tensors.items():
            assert torch.equal(tensor, together.state().tensors[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu"])
def test_two_shards_train_what_one_process_does(activation):
    config = dictionary(kind="clt", steps=300, activation=activation, features=48, learning_rate=1e-3)

    def work(shard):
        group, rows = begin(config, planted(), shard=shard)
        group.step(batch_of(rows, config, 0))
        first = {name: pair[0] for layer in group.layers.values() for name, pair in layer.moments.items()}
        first = {name: tensor.clone() for name, tensor in first.items()}
        return group, first, train(group, rows)

    (whole, gradients, losses), halves = work_alone(work), in_threads(2, work)
    for name, expected in gradients.items():
        parts = [half[1][name] for half in halves]
        if name in ("decoder_bias", "skip"):
            assert torch.equal(*parts)
            found = parts[0]
        else:
            assert not torch.equal(*parts)
            found = torch.cat(parts)
        # Adam's first moment is the clipped gradient, so a wrong norm would be seen.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.norm()))
    assert halves[0][2] == halves[1][2]
    assert sum(halves[0][2][-20:]) == pytest.approx(sum(losses[-20:]), rel=0.01)
    assert whole.shard.size == 1


def work_alone(work):
    from pipeline.training import WHOLE

    return work(WHOLE)


def test_the_norm_that_clips_is_that_of_all_shards(monkeypatch):
    config, scales = dictionary(kind="clt", steps=2), {}
    monkeypatch.setattr("pipeline.training.layer_group.CLIP", 1e-4)  # clips every step

    def work(shard):
        group, rows = begin(config, planted(), shard=shard)
        for layer in group.layers.values():
            monkeypatch.setattr(
                layer,
                "update",
                lambda step, rate, scale, betas: scales.setdefault(shard.size, set()).add(scale),
            )
        norms = []
        with monkeypatch.context():
            group.step(batch_of(rows, config, 0))
        return norms

    in_threads(2, work)
    work_alone(work)
    (alone,), (shared,) = scales[1], scales[2]
    assert shared == pytest.approx(alone, rel=1e-5)
    assert alone < 1


def test_a_larger_mean_changes_nothing_since_it_is_taken_away():
    """Without that, at five times the deviation every feature dies."""
    config = dictionary(features=128, k=8, steps=150, batch=256, dead_after=256 * 20)
    source = PlantedRows(400, 48, 8, mean=5.0)
    rows = source.rows(config.batch_size * config.n_steps)
    centred = source.normalisations(rows)
    assert centred[0].reads.gamma == pytest.approx(5, rel=0.1)
    group = LayerGroup.begin(config, 1, centred)
    train(group, rows)
    dead = (group.layers[0].silent >= config.dead_after).float().mean()
    assert dead < 0.1
    mean = centred[0].reads.mean
    around_zero = type(centred[0].reads)(torch.zeros_like(mean), centred[0].reads.scale)
    other = LayerGroup.begin(config, 1, {0: type(centred[0])(around_zero, centred[0].writes)})
    losses = train(other, rows)
    worse = (other.layers[0].silent >= config.dead_after).float().mean()
    assert worse > 5 * dead
    assert losses[-1] > 1.5 * group.layers[0].mean_loss


def test_a_loss_that_is_no_number_stops_before_anything_changes():
    config = dictionary()
    group, rows = begin(config, planted(1))
    train(group, rows, until=10)
    before = group.state()
    batch = batch_of(rows, config, 10)
    outputs = batch[0].outputs.clone()
    outputs[5, 3] = float("nan")
    with pytest.raises(
        TrainingError, match=r"layer 0, step 10: the loss is nan.*state before this step is kept"
    ):
        group.step({0: LayerRows(batch[0].inputs, outputs)})
    after = group.state()
    assert after.info == before.info
    assert all(torch.equal(tensor, before.tensors[name]) for name, tensor in after.tensors.items())
    train(group, rows)


def test_a_loss_far_from_its_mean_stops():
    config = dictionary(steps=130)
    group, rows = begin(config, planted(1))
    train(group, rows, until=120)
    batch = batch_of(rows, config, 120)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        group.step({0: LayerRows(batch[0].inputs, batch[0].outputs * 100)})


def test_more_tokens_go_on_from_before_the_decay_to_where_one_long_training_ends():
    short = dictionary(steps=40, narrowing=0.5, dead_after=512)
    long = dictionary(steps=80, narrowing=0.25, dead_after=512)
    whole, rows = begin(long, planted(1))
    normalisations = {0: whole.layers[0].normalisation}
    warm_up = whole.schedule.warm_up
    first = LayerGroup.begin(short, 1, normalisations)
    first.schedule = type(first.schedule)(**first.schedule.as_dict() | {"warm_up": warm_up})
    train(first, rows, until=first.schedule.decay_from)
    state = first.state()
    train(whole, rows)
    # `narrowing` is a share of the tokens, and what was fixed at the start stays.
    longer = LayerGroup.resume(short.model_copy(update={"tokens": long.tokens}), state)
    train(longer, rows)
    assert all(torch.equal(t, whole.state().tensors[name]) for name, t in longer.state().tensors.items())
    train(first, rows)
    with pytest.raises(TrainingError, match="go on from one of step 32 or before"):
        LayerGroup.resume(short.model_copy(update={"tokens": long.tokens}), first.state())


@pytest.mark.parametrize(
    ("changes", "said"), [({"k": 5}, "k was 4 and is 5"), ({"seed": 1}, "seed was 0 and is 1")]
)
def test_any_other_change_is_refused_with_the_difference(changes, said):
    group, rows = begin(dictionary(), planted(1))
    train(group, rows, until=2)
    with pytest.raises(TrainingError, match=said):
        LayerGroup.resume(dictionary(**changes), group.state())
