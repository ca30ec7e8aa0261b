"""Which features get a row, how rows are cut into blocks, and what thinning and precision change."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import attribute, prune
from pipeline.attribution import AttributionOptions
from pipeline.attribution.row_blocks import row_blocks
from pipeline.benchmark.engine.agreement import agreement
from pipeline.errors import ConfigurationError
from pipeline.graph.edge_blocks import SourceIndex
from tests.support.random_models import Recipe, random_model

TOKENS = [1, 7, 12, 30, 5, 9, 22, 30]


@pytest.fixture(scope="module")
def model():
    return random_model(Recipe("llama", layers=4), torch.float32)


def trace(model, block_pairs=None, **options):
    return attribute(model, TOKENS, options=AttributionOptions(**options), block_pairs=block_pairs)


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.02])
def test_a_tolerance_bounds_what_is_left_unexplained(model, tolerance):
    graph = trace(model, tolerance=tolerance)
    everything = attribute(model, TOKENS)
    assert 0 < graph.unexpanded_influence() < tolerance
    assert len(graph.expanded) < len(everything.expanded)


def test_a_smaller_tolerance_needs_more_rows_and_agrees_better(model):
    everything = prune(attribute(model, TOKENS))
    graphs = [trace(model, tolerance=tolerance) for tolerance in (0.3, 0.05, 0.001)]
    rows = [len(graph.expanded) for graph in graphs]
    overlap = [agreement(everything, prune(graph)).nodes for graph in graphs]
    assert rows == sorted(rows)
    assert overlap[0] < overlap[-1]
    assert overlap[-1] > 0.9


def test_a_cap_ends_a_tolerance(model):
    assert len(trace(model, tolerance=0.001, max_feature_nodes=10).expanded) == 10


def test_expanded_rows_are_the_rows_of_the_whole_graph(model):
    some, everything = (
        trace(model, max_feature_nodes=20, batch_size=3, update_interval=2),
        attribute(model, TOKENS),
    )
    n_other = everything.n_nodes - len(everything.expanded)
    rows = torch.cat((some.expanded, torch.arange(everything.n_nodes - n_other, everything.n_nodes)))
    torch.testing.assert_close(some.dense(), everything.dense()[rows[:, None], rows], atol=1e-5, rtol=1e-4)


def test_keeping_every_edge_by_number_changes_nothing(model):
    thin = trace(model, edges_per_row=10_000)
    assert torch.equal(thin.dense(), attribute(model, TOKENS).dense())
    assert thin.edges.dropped_share() == 0


def test_thinning_keeps_each_rows_strongest_edges_and_all_errors(model):
    whole, thin = (
        attribute(model, TOKENS),
        trace(model, edges_per_row=5, block_pairs=8),
    )
    dense, kept = whole.dense(), thin.dense()
    n = len(whole.expanded)
    torch.testing.assert_close(kept[:, n:], dense[:, n:], atol=1e-5, rtol=1e-4)
    strongest = dense[:, :n].abs().topk(5, dim=1)
    present = kept.gather(1, strongest.indices) != 0
    assert (present | (strongest.values == 0)).all()
    torch.testing.assert_close(kept, torch.where(kept == 0, 0, dense), atol=1e-5, rtol=1e-4)
    everything = torch.ones(whole.edges.sources.count, dtype=torch.bool)
    torch.testing.assert_close(thin.edges.row_sums(everything), whole.edges.row_sums(everything))
    lost = dense.abs().sum() - kept.abs().sum()
    assert thin.edges.dropped_share() == pytest.approx(float(lost / dense.abs().sum()), rel=1e-4)


def test_the_edges_that_a_row_keeps_do_not_depend_on_the_size_of_blocks(model):
    graphs = [trace(model, edges_per_row=5, block_pairs=pairs) for pairs in (1, 8, 40, 4096)]
    first, *others = (graph.dense() for graph in graphs)
    n = len(graphs[0].expanded)
    # The sixth strongest is gone from every row, whatever the row's neighbours keep.
    assert ((first[:, :n] != 0).sum(1) <= 5).all()
    for other in others:
        assert torch.equal(first != 0, other != 0)
        torch.testing.assert_close(first, other, atol=1e-5, rtol=1e-4)
    shares = [graph.edges.dropped_share() for graph in graphs]
    assert shares == pytest.approx([shares[0]] * len(shares), rel=1e-5)
    pruned = [prune(graph) for graph in graphs]
    for other in pruned[1:]:
        assert torch.equal(pruned[0].node, other.node)
        assert torch.equal(pruned[0].source, other.source)
        assert torch.equal(pruned[0].target, other.target)


def test_bfloat16_products_come_near_but_not_to_the_same(model):
    exact, rough = (
        attribute(model, TOKENS).dense(),
        trace(model, precision="bfloat16").dense(),
    )
    assert 1e-5 < float((exact - rough).abs().max() / exact.abs().max()) < 0.05


@pytest.mark.parametrize(("precision", "message"), [("tf32", "which only CUDA"), ("float8", "'float8'")])
def test_a_precision_that_is_not_there_is_refused(model, precision, message):
    with pytest.raises(ConfigurationError, match=message):
        trace(model, precision=precision)


@pytest.mark.parametrize("tolerance", [0, 1, -0.1])
def test_a_tolerance_out_of_range_is_refused(model, tolerance):
    with pytest.raises(ConfigurationError, match=f"tolerance is {tolerance}"):
        trace(model, tolerance=tolerance)


@settings(deadline=None)
@given(
    n_layers=st.integers(1, 5),
    n_positions=st.integers(2, 70),
    n_features=st.integers(1, 300),
    block_pairs=st.integers(1, 3000),
    seed=st.integers(0, 1000),
)
def test_every_row_goes_down_once_no_further_than_it_must(
    n_layers, n_positions, n_features, block_pairs, seed
):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([n_layers, n_positions, 1000])
    active = (torch.rand(n_features, 3, generator=generator) * sizes).long().unique(dim=0)
    reads = torch.tensor([[n_layers, n_positions - 1]])
    rows = torch.arange(len(active) + 1)
    blocks = list(row_blocks(SourceIndex(active, n_layers, n_positions), reads, rows, block_pairs))
    assert torch.cat([block.rows for block in blocks]).sort().values.tolist() == rows.tolist()
    where = torch.cat((active[:, :2], reads))
    for block in blocks:
        layer, position = where[block.rows].unbind(1)
        assert (layer.diff() <= 0).all()
        assert block.n_positions == int(position.max()) + 1
        assert block.live == [int((layer >= at).sum()) for at in range(n_layers + 2)]
