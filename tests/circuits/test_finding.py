"""Circuits are found where they were put, and not where they were not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.circuits.discovery import target_rows
from pipeline.circuits.finding import CallsHere, Circuit, Found, find
from pipeline.circuits.finding.growth import grow
from pipeline.circuits.finding.mechanisms import Mechanism
from pipeline.circuits.finding.supernodes import supernodes
from pipeline.circuits.labels import in_discovery, label
from pipeline.circuits.settings import Settings
from pipeline.errors import ConfigurationError
from tests.support.planted_graphs import Edge, made_edges, made_groups, made_roles

LAST = 1
"""Number of the role of all edges."""


def _find(
    graphs: list[list[Edge]],
    groups: list[str],
    clusters: list[int] | None = None,
    partitions: int = 1,
    parts: int = 1,
) -> Found:
    size = -(-len(graphs) // parts)
    cut = [made_edges(graphs[start : start + size], start) for start in range(0, len(graphs), size)]
    labels = label(made_groups(groups, clusters), made_roles(len(graphs)), everything=True)
    return find(cut, labels, Settings(), CallsHere(), partitions)


def _everywhere(random: np.random.Generator) -> list[Edge]:
    """Edges that any prompt may have: common features, and one into the target."""
    shared: list[Edge] = [((0, 900), (1, 900), 0.3), ((1, 900), None, 0.3)]
    return [
        *shared,
        ((int(random.integers(2)), int(random.integers(50))), (2, int(random.integers(50))), 0.2),
    ]


def _chain(*features: int) -> list[Edge]:
    """A path through layers 0, 1, ... to the target."""
    nodes = list(enumerate(features))
    ends: list[tuple[int, int] | None] = [*nodes[1:], None]
    return [(source, target, 0.5) for source, target in zip(nodes, ends, strict=True)]


def _groups(count: int = 12) -> tuple[list[list[Edge]], list[str]]:
    random = np.random.default_rng(0)
    graphs = [[*_everywhere(random), *_chain(1, 2, 3)] for _ in range(count)]
    graphs += [[*_everywhere(random), ((0, 7), None, 0.5)] for _ in range(2 * count)]
    return graphs, ["a"] * count + ["b"] * 2 * count


def test_a_path_is_found_and_what_all_prompts_share_is_not():
    found = _find(*_groups())
    (circuit,) = (one for one in found.circuits if found.labels.groups[one.group] == "a")
    assert {node[:2] for node in circuit.nodes} == {(0, 1), (1, 2), (2, 3)}
    assert len(circuit.edges) == 3
    assert circuit.into_target == pytest.approx(0.5 / 0.8)
    assert found.names == ("a#1", "b#1")


def test_parts_and_partitions_change_nothing():
    one, other = _find(*_groups()), _find(*_groups(), partitions=3, parts=4)
    assert [circuit.key.tolist() for circuit in one.circuits] == [
        circuit.key.tolist() for circuit in other.circuits
    ]
    for first, second in zip(one.circuits, other.circuits, strict=True):
        assert first.share == pytest.approx(second.share)
    assert one.recurring.q_value == pytest.approx(other.recurring.q_value)


def test_nothing_is_claimed_where_groups_are_dealt_out():
    graphs, groups = _groups()
    random = np.random.default_rng(1)
    draws = [_find(graphs, random.permutation(groups).tolist()).circuits for _ in range(40)]
    assert sum(map(bool, draws)) <= 2


def test_repeated_prompts_are_no_evidence():
    """Two prompts, each swept twenty times: as many rows as would convince, but two clusters."""
    random = np.random.default_rng(0)
    graphs = [_chain(1, 2, 3)] * 20 + [_chain(4, 5, 6)] * 20
    graphs += [_everywhere(random) for _ in range(20)]
    clusters = [0] * 20 + [1] * 20 + list(range(2, 22))
    groups = ["a"] * 20 + ["b"] * 40
    assert not _find(graphs, groups, clusters).circuits
    alone = _find(graphs, groups)  # the same with every prompt for itself: what would be claimed
    assert "a#1" in alone.names


def test_a_cluster_holds_what_most_of_its_prompts_do():
    random = np.random.default_rng(0)
    graphs, clusters = [], []
    for cluster in range(8):
        graphs += [_chain(1, 2), _chain(1, 2), _everywhere(random)]
        clusters += [cluster] * 3
    graphs += [[*_everywhere(random), ((0, 7), None, 0.5)] for _ in range(20)]
    found = _find(graphs, ["a"] * 24 + ["b"] * 20, [*clusters, *range(8, 28)])
    edge = found.recurring.keys().index((0, 1, LAST, 1, 2, LAST))
    assert found.recurring.clusters[edge].tolist() == [8, 0]


def test_one_prompt_of_two_is_not_most_of_its_cluster():
    random = np.random.default_rng(0)
    graphs, clusters = [], []
    for cluster in range(8):
        graphs += [_chain(1, 2), [*_chain(3, 2), *_chain(1, 2)] if cluster < 4 else _chain(1, 2)]
        clusters += [cluster] * 2
    graphs += [[*_everywhere(random), *_chain(3, 2)] for _ in range(20)]
    found = _find(graphs, ["a"] * 16 + ["b"] * 20, [*clusters, *range(8, 28)])
    edge = found.recurring.keys().index((0, 3, LAST, 1, 2, LAST))
    assert found.recurring.clusters[edge].tolist() == [0, 20]


def test_pairs_of_prompts_do_not_beat_rewired_graphs_by_chance():
    """Edges dealt out with a chance of one in twenty, over clusters of two."""
    random = np.random.default_rng(0)
    pairs, nodes, level = 120, 12, 0.01
    graphs: list[list[Edge]] = []
    for dealt in random.random((2 * pairs, nodes, nodes)) < 0.05:
        ends = np.argwhere(dealt).tolist()
        graphs.append([((1, 0), None, 0.5), *(((0, source), (1, target), 0.5) for source, target in ends)])
    clusters = [number // 2 for number in range(2 * pairs)]
    found = _find(graphs, ["a"] * pairs + ["b"] * pairs, clusters)
    assert np.sum(found.recurring.p_rewired <= level) <= level * 2 * nodes**2


def test_two_ways_of_one_group_are_two_circuits():
    random = np.random.default_rng(0)
    graphs = [[*_everywhere(random), *_chain(1, 2, 3)] for _ in range(10)]
    graphs += [[*_everywhere(random), *_chain(4, 5, 6)] for _ in range(8)]
    graphs += [[*_everywhere(random), ((0, 7), None, 0.5)] for _ in range(40)]
    found = _find(graphs, ["a"] * 18 + ["b"] * 40)
    nodes = {
        name: {node[:2] for node in circuit.nodes}
        for name, circuit in zip(found.names, found.circuits, strict=True)
    }
    assert nodes["a#1"] == {(0, 1), (1, 2), (2, 3)}
    assert nodes["a#2"] == {(0, 4), (1, 5), (2, 6)}


def test_an_edge_without_one_sign_is_no_part():
    random = np.random.default_rng(0)
    graphs = []
    for number in range(12):
        sign = 1 if number % 2 else -1
        graphs.append([*_everywhere(random), ((0, 1), (1, 2), 0.5 * sign), ((1, 2), None, 0.5)])
    graphs += [_everywhere(random) for _ in range(24)]
    (circuit,) = _find(graphs, ["a"] * 12 + ["b"] * 24).circuits
    assert [node[:2] for node in circuit.nodes] == [(1, 2)]


def test_the_chance_in_rewired_graphs_is_that_of_simulated_ones():
    """Dealing out edges by depth and by the degrees of nodes gives each as often as the formula says."""
    random = np.random.default_rng(0)
    graphs = []
    for _ in range(50):
        pairs = set(zip((random.zipf(1.6, 8) % 8).tolist(), (random.zipf(1.6, 8) % 8).tolist(), strict=True))
        graphs.append([((0, s), (1, t), 0.5) for s, t in sorted(pairs)] + [((1, 0), None, 0.5)])
    found = _find(graphs, ["a"] * 25 + ["b"] * 25)
    ends = np.array([(source[1], target[1]) for graph in graphs for source, target, _ in graph[:-1]])
    sizes = [len(graph) for graph in graphs[:25]]
    held, rounds = np.zeros((8, 8)), 300
    for _ in range(rounds):
        for size in sizes:
            at_depth = random.binomial(size, len(ends) / (len(ends) + 50))
            dealt = np.zeros((8, 8), bool)
            dealt[random.choice(ends[:, 0], at_depth), random.choice(ends[:, 1], at_depth)] = True
            held += dealt
    simulated = held / (rounds * len(sizes))
    compared = [
        (chance, simulated[key[1], key[4]])
        for key, chance in zip(found.recurring.keys(), found.recurring.rewired[:, 0], strict=True)
        if key[3] == 1
    ]
    assert len(compared) > 10
    for chance, dealt_out in compared:
        assert chance == pytest.approx(dealt_out, abs=0.02)


def test_growth_needs_a_path_to_the_target():
    key = np.array([[0, 1, 1, 1, 2, 1], [1, 2, 1, 4, -1, 1], [0, 5, 1, 1, 6, 1], [0, 9, 1, 1, 2, 1]])
    share = np.array([0.5, 0.6, 0.9, 0.01])
    assert grow(key, share).tolist() == [1, 0]  # not the strong edge that leads nowhere, nor the weak one


def test_a_redundant_pair_is_one_supernode_and_an_inhibitor_another():
    two_hop = [(0, 1), (0, 2)], [(1, 3), (1, 4), (1, 5)], (2, 6)
    rows, flows = [], []
    for city in two_hop[0]:
        for hop in two_hop[1]:
            rows.append([*city, 1, *hop, 1])
            flows.append(0.2)
    for hop in two_hop[1]:
        rows.append([*hop, 1, *two_hop[2], 1])
        flows.append(-0.2 if hop == (1, 5) else 0.3)
    rows.append([*two_hop[2], 1, 4, -1, 1])
    flows.append(1.0)
    found = supernodes(np.array(rows), np.array(flows))
    by_supernode: dict[int, set] = {}
    for (layer, feature, _), number in found.items():
        by_supernode.setdefault(number, set()).add((layer, feature))
    assert list(by_supernode.values()) == [{(0, 1), (0, 2)}, {(1, 3), (1, 4)}, {(1, 5)}, {(2, 6)}]


def test_each_target_of_a_circuit_is_a_node():
    """Explained features are targets at their own layers and roles."""
    key = np.array([[0, 1, 1, 2, -1, 1], [1, 4, 1, 3, -1, 1], [0, 2, 1, 2, -1, 1], [0, 1, 1, 1, 4, 1]])
    share, support = np.array([0.5, 0.2, 0.1, 0.2]), np.array([0.75, 0.5, 0.25, 0.5])
    mechanism = Mechanism(np.arange(4), share, support, 1.0)
    rows = target_rows(Circuit(0, 1, np.arange(4), key, share, support, mechanism, {}))
    assert [(row["kind"], row["layer"], row["feature"], row["role"]) for row in rows] == [
        ("logit", 2, None, "last"),
        ("logit", 3, None, "last"),
    ]
    assert [row["share"] for row in rows] == pytest.approx([0.6, 0.2])
    assert [row["support"] for row in rows] == [0.75, 0.5]


def test_halves_are_told_by_the_cluster_alone():
    groups = made_groups(["a", "b"] * 50, [number // 2 for number in range(100)])
    discovery = in_discovery(groups.rows["cluster_hash"])
    assert (discovery[0::2] == discovery[1::2]).all()
    assert 10 < discovery[::2].sum() < 40
    again = made_groups(["b"] * 30, list(range(30)))  # fewer prompts, other groups: the same halves
    assert (in_discovery(again.rows["cluster_hash"]) == discovery[:60:2]).all()


def test_one_group_has_nothing_to_be_set_apart_from():
    with pytest.raises(ConfigurationError, match="one group, 'a'"):
        _find([_chain(1)] * 4, ["a"] * 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fdr": 0.0}, "--fdr is 0.0"),
        ({"min_share": 1.0}, "--min-share is 1.0"),
        ({"min_support": 1}, "--min-support is 1"),
        ({"draws": 10}, "--draws is 10"),
    ],
)
def test_settings_are_checked_when_they_are_made(given, message):
    with pytest.raises(ConfigurationError, match=message):
        Settings(**given)
