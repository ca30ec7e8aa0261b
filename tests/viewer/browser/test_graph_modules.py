"""The graph's modules in a real browser, on generated graphs: nothing moves, nothing hides, frames stay short."""

# ruff: noqa: E501 (lines of JavaScript)

from __future__ import annotations

import pytest

LARGE = {"edges": 100_000, "nodes": 3000, "layers": 26, "positions": 40, "targets": 10}
SIZES = [
    {"edges": 1000, "nodes": 120},
    {"edges": 10_000, "nodes": 600, "layers": 12, "positions": 20},
    LARGE,
    {"edges": 20_000, "nodes": 3000, "layers": 12, "positions": 2000},
]
CROWDED = {"edges": 3000, "nodes": 400, "layers": 2, "positions": 3, "targets": 10}
"""Cells of more than a hundred nodes, which show 23 and a `+n`."""

MOUNT = (
    "const {mounted, rested, pixels} = await import('/scripts/mounted.js'); const made = mounted(options);"
)


def run(page, body: str, options: dict | None = None):
    """Run JavaScript that has `made`, a generated graph in a view."""
    return page.evaluate(f"async (options) => {{ {MOUNT} {body} }}", options or SIZES[0])


def test_sliders_selection_and_zoom_move_no_node(modules) -> None:
    moved = run(
        modules,
        """
        const before = [...made.layout.x, ...made.layout.y].join();
        const layout = made.layout;
        for (const n of [0.2, 0.5, 0.9]) for (const e of [0.1, 0.7]) made.show({n, e, errors: n > 0.4}, 7);
        made.view.zoomBy(2.5); made.view.panBy(80, -30);
        await rested(made.view);
        return [before === [...layout.x, ...layout.y].join(), made.view.scene.layout === layout];
        """,
    )
    assert moved == [True, True]
    assert modules.complaints.found == []


@pytest.mark.parametrize("options", SIZES[:2])
def test_the_same_graph_gives_the_same_picture(modules, options) -> None:
    pictures = run(
        modules,
        """
        await rested(made.view);
        const first = await pixels(made.view);
        const again = mounted(options);
        await rested(again.view);
        const second = await pixels(again.view);
        again.show({n: 0.3}); await rested(again.view);
        const other = await pixels(again.view);
        again.show({}); await rested(again.view);
        return [first, second, other, await pixels(again.view)];
        """,
        options,
    )
    assert pictures[0] == pictures[1] == pictures[3]
    assert pictures[2] != pictures[0]


@pytest.mark.parametrize("options", [*SIZES[:3], CROWDED])
def test_no_two_nodes_stand_on_one_another(modules, options) -> None:
    touching, hidden, counted = run(
        modules,
        """
        const {layout, graph} = made;
        const seen = new Map(); let touching = 0;
        for (let node = 0; node < graph.count; node++) {
          if (layout.under[node] >= 0) continue;
          const key = Math.round(layout.x[node]) + ' ' + Math.round(layout.y[node]);
          if (seen.has(key)) touching++;
          seen.set(key, node);
        }
        const marks = made.view.scene.marks;
        for (const a of marks) for (const b of marks) {
          if (a.node < b.node && Math.hypot(a.x - b.x, a.y - b.y) < a.r + b.r) touching++;
        }
        const hidden = layout.under.filter((under) => under >= 0).length;
        return [touching, hidden, layout.more.reduce((sum, more) => sum + more.nodes.length, 0)];
        """,
        options,
    )
    assert touching == 0
    assert hidden == counted, "every node that is not drawn is counted by a +n"
    assert (hidden > 0) == (options is CROWDED)


@pytest.mark.parametrize("options", [SIZES[0], CROWDED])
def test_every_node_is_reached_by_the_mouse_and_by_keys(modules, options) -> None:
    by_mouse, by_keys, wanted = run(
        modules,
        """
        const {linesOf, nextNode, nodeAt, moreAt} = await import('viewer/graph/pick.js');
        const open = made.layout.more.map((more) => more.cell);
        const all = mounted({...options, open});
        const {layout, graph, view} = all;
        const shown = all.show({});
        const byMouse = new Set();
        for (let node = 0; node < graph.count; node++) byMouse.add(nodeAt(view.scene.marks, layout.x[node], layout.y[node], 2));
        const lines = linesOf(layout, shown);
        const reached = new Set([lines.at(-1)[0]]);
        for (const node of reached) for (const way of ['left', 'right', 'up', 'down']) reached.add(nextNode(layout, lines, node, way));
        return [byMouse.size, reached.size, graph.count];
        """,
        options,
    )
    assert (by_mouse, by_keys) == (wanted, wanted)


def test_a_full_cell_is_one_stop_and_opens_on_a_click(modules) -> None:
    stops, told = run(
        modules,
        """
        const {linesOf} = await import('viewer/graph/pick.js');
        const stops = linesOf(made.layout, made.show({})).flat();
        const {view, layout} = made;
        await rested(view);
        const box = view.canvas.getBoundingClientRect();
        const more = layout.more[0];
        const at = {clientX: box.left + more.x * view.view.k + view.view.x, clientY: box.top + more.y * view.view.k + view.view.y};
        for (const name of ['pointerdown', 'pointerup'])
          view.canvas.dispatchEvent(new PointerEvent(name, {...at, pointerId: 1, button: 0, isPrimary: true}));
        return [[stops.length, new Set(stops).size, layout.more.length], made.told.filter(([what]) => what === 'open')];
        """.replace(
            "view.canvas.dispatchEvent", "view.canvas.setPointerCapture = () => {}, view.canvas.dispatchEvent"
        ),
        CROWDED,
    )
    assert stops[0] == stops[1]
    assert len(told) == 1


@pytest.mark.parametrize("options", [SIZES[0], SIZES[1], CROWDED])
def test_labels_never_overlap(modules, options) -> None:
    overlaps, count = run(
        modules,
        """
        await rested(made.view);
        let overlaps = 0; let count = 0;
        for (const zoom of [1, 1.7, 2.4, 0.1]) {
          made.view.zoomBy(zoom); await rested(made.view);
          const labels = made.view.labels; count += labels.length;
          for (const a of labels) for (const b of labels) {
            if (a !== b && Math.abs(a.x - b.x) < (a.width + b.width) / 2 && Math.abs(a.y - b.y) < 11) overlaps++;
          }
        }
        return [overlaps, count];
        """,
        options,
    )
    assert overlaps == 0
    assert count > 10


def test_what_is_hidden_is_counted(modules) -> None:
    wrong = run(
        modules,
        """
        const wrong = [];
        const near = (a, b) => Math.abs(a - b) < 1e-5;
        for (const n of [0, 0.3, 0.77, 1]) for (const e of [0, 0.2, 0.9, 1]) for (const errors of [true, false]) {
          const {graph} = made;
          const pin = [graph.names[11]];
          const shown = made.show({n, e, errors, pin});
          const isShown = (node) => graph.kind[node] > 1 || node === 11 ||
            ((n === 1 || graph.cumulative[node] <= n) && (errors || graph.kind[node] === 0));
          const nodes = [...graph.kind.keys()].filter((node) => graph.kind[node] < 2 && isShown(node));
          let running = 0; const whole = graph.score.reduce((a, b) => a + b, 0);
          const edges = [...graph.score.keys()].filter((edge) => {
            const is = e === 1 || running < e * whole - 1e-9 || edge === 0;
            running += graph.score[edge];
            return is && isShown(graph.source[edge]) && isShown(graph.target[edge]);
          });
          const sum = (of, list) => list.reduce((a, i) => a + of[i], 0);
          const all = [...graph.kind.keys()].filter((node) => graph.kind[node] < 2);
          const c = shown.counts;
          if (c.nodes !== nodes.length || Math.abs(c.edges - edges.length) > 1 ||
              !near(c.influence, sum(graph.influence, nodes) / sum(graph.influence, all)))
            wrong.push([n, e, errors, c, nodes.length, edges.length]);
        }
        return wrong;
        """,
    )
    assert wrong == []


def test_a_packed_answer_is_read_whatever_its_arrays(modules) -> None:
    read = modules.evaluate(
        """async () => {
          const {unpack} = await import('viewer/packed.js');
          const types = {u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f32: Float32Array, f64: Float64Array};
          const wrong = [];
          for (let size = 0; size < 40; size++) {
            const arrays = Object.entries(types).map(([type, Type], i) => ({name: type, type, values: Type.from({length: (size * (i + 3)) % 17}, (_, j) => j * 7 + i)}));
            let text = JSON.stringify({text: 'ä'.repeat(size), arrays: arrays.map(({name, type, values}) => ({name, type, length: values.length}))});
            let header = new TextEncoder().encode(text);
            while ((4 + header.length) % 8) header = new TextEncoder().encode(text += ' ');
            const parts = [new Uint8Array(new Uint32Array([header.length]).buffer), header];
            for (const {values} of arrays) parts.push(new Uint8Array(values.buffer), new Uint8Array((8 - (values.byteLength % 8)) % 8));
            const answer = unpack(await new Blob(parts).arrayBuffer());
            for (const {name, values} of arrays) if (answer.arrays[name].join() !== values.join()) wrong.push([size, name]);
          }
          return wrong;
        }"""
    )
    assert read == []


@pytest.mark.parametrize("options", SIZES, ids=lambda size: f"{size['edges']} edges")
def test_panning_zooming_and_sliders_keep_the_budget(modules, options) -> None:
    """Script of each of 60 panned frames, and of slider events. The lower quartile, since frames of a shared
    machine are interrupted; what the budget says of the median holds on an idle one."""
    measured = run(
        modules,
        """
        const {view, show} = made;
        await rested(view);
        const frames = []; const draw = view.frame.bind(view);
        view.frame = () => { const t = performance.now(); draw(); frames.push(performance.now() - t); };
        for (let i = 0; i < 60; i++) {
          view.panBy(i % 2 ? 9 : -7, 3);
          if (i % 10 === 0) view.zoomBy(1.05);
          await new Promise(requestAnimationFrame);
        }
        await rested(view);
        const slides = [];
        for (let i = 0; i < 20; i++) {
          const t = performance.now();
          show({n: 1 - i / 25, e: 1 - i / 40});
          slides.push(performance.now() - t);
          await new Promise(requestAnimationFrame);
        }
        frames.sort((a, b) => a - b); slides.sort((a, b) => a - b);
        return {frames: frames.length, frame: frames[frames.length >> 2], median: frames[frames.length >> 1],
                slide: slides[5], density: view.density.milliseconds};
        """,
        options,
    )
    heap = modules.context.new_cdp_session(modules).send("Runtime.getHeapUsage")["usedSize"]
    print(options["edges"], measured, heap)
    assert measured["frames"] >= 60
    assert measured["frame"] <= 8
    assert measured["slide"] <= 50
    assert heap <= 200e6


PART = """
const {tiesOf, partsOf, scoresOf, readGroup} = await import('viewer/graph/groups.js');
const {graph} = made;
const all = [...graph.kind.keys()].filter((node) => graph.kind[node] === 0);
const groups = [0, 1].map((part) => readGroup('g' + part + ':' + all.slice(part * 3, part * 3 + 3).map((node) => graph.names[node]).join('+')));
const parts = partsOf(graph, groups, [all[7], all[8]]);
const features = parts.flatMap((part) => part.nodes).filter((node) => graph.kind[node] === 0);
return {
  kind: [...graph.kind], layer: [...graph.layer], total: [...graph.total_input], probability: [...graph.activation],
  edges: [...graph.source].map((source, at) => [source, graph.target[at], graph.weight[at]]),
  parts: parts.map((part) => part.nodes), ties: tiesOf(graph, parts), features, scores: scoresOf(graph, features),
};
"""


@pytest.mark.parametrize("seed", range(6))
def test_supernode_sums_and_scores_of_a_part_equal_brute_force(modules, seed) -> None:
    """By matrices over all nodes: sums over members, and influence as the series of powers."""
    import numpy as np

    options = {
        "edges": 900,
        "nodes": 60,
        "layers": 5,
        "positions": 6,
        "targets": 1 + seed % 3,
        "seed": seed + 1,
    }
    found = run(modules, PART, options)
    kind, total = np.array(found["kind"]), np.array(found["total"])
    n = len(kind)
    weight = np.zeros((n, n))  # target by source
    for source, target, value in found["edges"]:
        weight[target, source] = value
    total = np.maximum(total, 1e-30)
    expected = {}
    for to, members in enumerate(found["parts"]):
        inside = np.abs(weight[np.ix_(members, members)]).sum(1)
        outside = np.maximum(0, total[members] - inside).sum()
        for of, others in enumerate(found["parts"]):
            value = weight[np.ix_(members, others)]
            if of != to and (value != 0).any():
                expected[of, to] = (value.sum(), value.sum() / outside if outside else 0)
    ties = {(tie["source"], tie["target"]): (tie["weight"], tie["share"]) for tie in found["ties"]}
    assert ties.keys() == expected.keys()
    for key, values in expected.items():
        assert ties[key] == pytest.approx(values, rel=1e-6, abs=1e-9), key

    kept = np.isin(np.arange(n), found["features"])
    targets = kind == 3
    shares = np.abs(weight) / total[:, None] * (kept | targets)[:, None] * (kept | (kind == 2))
    start = np.where(targets, found["probability"], 0)
    influence, step = np.zeros(n), start / start.sum()
    while step.any():
        influence += step
        step = step @ shares
    tokens = influence[kind == 2].sum()
    errors = (influence * (1 - shares.sum(1)))[kept | targets].sum()
    assert tokens + errors == pytest.approx(1)
    carried = influence[kept].sum() + tokens + errors + 1
    assert found["scores"]["replacement"] == pytest.approx(tokens, rel=1e-6)
    assert found["scores"]["completeness"] == pytest.approx(1 - errors / carried, rel=1e-6)
