"""Two graphs as one, in a real browser: what is the same, what only one has, and both ways round."""

# ruff: noqa: E501 (lines of JavaScript)

from __future__ import annotations

START = """
    const { generatedGraph } = await import('/scripts/generated.js');
    const { graphOf, FEATURE } = await import('viewer/graph/graph.js');
    const { unionOf, BOTH, ONLY_A, ONLY_B, CHANGED } = await import('viewer/graph/union.js');
    const made = (seed, alter = () => {}) => { const answer = generatedGraph({ seed, edges: 400, nodes: 80 }); alter(answer.arrays); return graphOf(answer); };
    const counts = (union) => [BOTH, ONLY_A, ONLY_B, CHANGED].map((state) => union.states.filter((one) => one === state).length);
"""


def run(page, body: str):
    found = page.evaluate(f"async () => {{ {START} {body} }}")
    assert page.complaints.found == []
    return found


def test_identical_graphs_differ_in_nothing(modules) -> None:
    counts, nodes, edges = run(
        modules,
        "const union = unionOf(made(1), made(1), true); return [counts(union), union.count, [union.edgeCount, made(1).edgeCount]];",
    )
    assert counts == [nodes, 0, 0, 0]
    assert edges[0] == edges[1]


def test_a_against_b_mirrors_b_against_a(modules) -> None:
    forth, back, names = run(
        modules,
        """
        const half = (arrays) => { for (let node = 0; node < arrays.activation.length; node += 2) arrays.activation[node] *= 1.5; };
        const a = made(1), b = made(1, half), c = made(2);
        const both = [[a, b], [a, c]];
        const named = (union) => Object.fromEntries(union.names.map((name, node) => [name, union.states[node]]));
        const swapped = { [BOTH]: BOTH, [ONLY_A]: ONLY_B, [ONLY_B]: ONLY_A, [CHANGED]: CHANGED };
        const same = both.map(([x, y]) => {
          const [forth, back] = [named(unionOf(x, y, true)), named(unionOf(y, x, true))];
          return Object.keys(forth).length === Object.keys(back).length && Object.entries(forth).every(([name, state]) => back[name] === swapped[state]);
        });
        return [both.map(([x, y]) => counts(unionOf(x, y, true))), both.map(([x, y]) => counts(unionOf(y, x, true))), same];
        """,
    )
    for (both, only_a, only_b, changed), there in zip(forth, back, strict=True):
        assert there == [both, only_b, only_a, changed]
    assert forth[0][3] > 10
    assert forth[1][1] > 10
    assert names == [True, True]


def test_features_of_another_dictionary_stand_at_their_matches(modules) -> None:
    counts, unmatched, own = run(
        modules,
        """
        const other = (arrays) => {
          arrays.match_layer = Int32Array.from(arrays.kind, (kind, node) => (kind === FEATURE && node % 3 ? arrays.layer[node] : -1));
          arrays.match_feature = Int32Array.from(arrays.kind, (kind, node) => (kind === FEATURE && node % 3 ? arrays.feature[node] : -1));
          for (let node = 0; node < arrays.kind.length; node++) if (arrays.kind[node] === FEATURE) {
            arrays.feature[node] = (arrays.feature[node] * 7 + 1) % 1e6; arrays.activation[node] *= 9;
          }
        };
        const a = made(1), b = made(1, other), union = unionOf(a, b, true);
        const unmatched = a.names.filter((name, node) => a.kind[node] === FEATURE && node % 3 === 0).length;
        return [counts(union), unmatched, [...union.byName.keys()].filter((name) => name.startsWith('B:')).length];
        """,
    )
    assert unmatched > 10
    assert counts[1] == counts[2] == own == unmatched
    assert counts[3] == 0  # activations of two dictionaries have different units
    assert counts[0] > 40
