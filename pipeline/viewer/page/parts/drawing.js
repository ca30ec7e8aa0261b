// The drawing of a graph on a page: makes the scene from the state, keeps what did not change, and turns what was
// pointed at into a new state. Used by every page that shows a graph.

import { h } from "viewer/elements.js";
import { curvesOf } from "viewer/graph/edges.js";
import { FEATURE, KINDS } from "viewer/graph/graph.js";
import { nodesOf, readGroup } from "viewer/graph/groups.js";
import { layoutOf } from "viewer/graph/layout.js";
import { linesOf, nextNode } from "viewer/graph/pick.js";
import { labelOf, marksOf, paintOf, tiedTo } from "viewer/graph/scene.js";
import { shownOf } from "viewer/graph/shown.js";
import { GraphView } from "viewer/graph/view.js";
import { clip } from "viewer/parts/text.js";

/** Keep the last value of a computation while its reasons stay the same. */
function memo(held, name, reasons, compute) {
  const last = held[name];
  if (last && last.reasons.length === reasons.length && last.reasons.every((reason, i) => reason === reasons[i])) return last.value;
  held[name] = { reasons, value: compute() };
  return held[name].value;
}

/** Everything that is drawn of a graph in this state. */
export function sceneOf({ state, local, colors }, graph, { key = "drawing", notes = null, effects = null, paint = null } = {}) {
  const held = (local[key] ??= {});
  const groups = memo(held, "groups", [graph, state.group.join()], () => groupIndex(graph, state.group));
  const pins = state.pin.join();
  const shown = memo(held, "shown", [graph, state.n, state.e, state.errors, pins], () => shownOf(graph, state));
  const only = state.repack ? shown.nodes : null;
  const layout = memo(held, "layout", [graph, state.open.join(), groups, only], () => layoutOf(graph, { open: state.open, groups, only }));
  const curves = memo(held, "curves", [layout], () => curvesOf(graph, layout));
  const selected = graph.byName.get(state.sel.at(-1)) ?? -1;
  const painted = memo(held, "painted", [graph, state.paint, effects, paint], () => paint ?? paintOf(graph, state.paint, effects));
  const labels = memo(held, "labels", [graph, notes, state.group.join()], () => labelNames(graph, notes, state.group));
  const edge = edgeNamed(graph, state.edge);
  const marks = memo(held, "marks", [layout, shown, selected, pins, painted, state.sel.join(), edge], () => {
    const pinned = new Set([...state.pin, ...state.sel.slice(0, -1)].map((name) => graph.byName.get(name)));
    const dimmed = edge >= 0 ? new Set([graph.source[edge], graph.target[edge]]) : tiedTo(graph, selected);
    return marksOf(graph, layout, shown, { selected, pinned, paint: painted, dimmed });
  });
  const tokens = memo(held, "tokens", [graph], () => (graph.prompt?.tokens ?? []).map((token) => clip(token, 40)));
  const scene = memo(held, "scene", [marks, labels, colors, state.box.join(), edge], () => ({
    graph, layout, curves, shown, selected, edge, marks, colors, tokens,
    box: state.box,
    label: `Graph of ${graph.prompt?.id ?? "a prompt"}: ${shown.counts.nodes} nodes, ${shown.counts.edges} edges. Arrows go from node to node.`,
    textOf: (node) => clip(labelOf(graph, node, labels), 28),
  }));
  held.last = scene;
  return scene;
}

/** The canvas of a scene. */
export function drawing(context, scene, { key = "drawing" } = {}) {
  const held = context.local[key];
  queueMicrotask(() => held.view?.show(scene));
  return h("div.canvas", {
    key,
    mount: (host) => {
      held.view = new GraphView(host, told(context, held));
      window.viewerGraph = held.view; // for measuring, and for whoever looks with the browser's tools
    },
    unmount: () => held.view.close(),
  });
}

function told(context, held) {
  const names = (nodes) => nodes.map((node) => held.last.graph.names[node]);
  const { go } = context;
  return {
    select: (node, isAdded) => {
      const [name] = names([node]);
      const { sel } = context.state;
      const rest = sel.filter((one) => one !== name);
      go({ sel: isAdded ? (sel.includes(name) ? rest : [...sel, name]) : [name], edge: "" });
    },
    selectMany: (nodes) => go({ sel: names(nodes.filter((node) => held.last.graph.kind[node] === FEATURE)), edge: "" }),
    edge: (edge) => {
      const { graph } = held.last;
      const name = edge >= 0 ? `${graph.names[graph.source[edge]]}>${graph.names[graph.target[edge]]}` : "";
      if (name || context.state.sel.length || context.state.edge) go({ sel: name ? context.state.sel : [], edge: name });
    },
    open: (cell) => go({ open: [...new Set([...context.state.open, cell])] }),
    moved: (box) => go({ box }, { isSoft: true }),
    hover: () => {},
  };
}

function groupIndex(graph, groups) {
  if (!groups.length) return null;
  const index = new Int32Array(graph.count).fill(groups.length);
  for (const [number, group] of groups.map(readGroup).entries()) for (const node of nodesOf(graph, group)) index[node] = number;
  return index;
}

function labelNames(graph, notes, groups) {
  const labels = new Map();
  for (const group of groups.map(readGroup)) for (const node of nodesOf(graph, group)) labels.set(graph.names[node], group.name);
  for (const [name, text] of notes ?? []) labels.set(name, text);
  return labels;
}

export function edgeNamed(graph, name) {
  const [source, target] = (name ?? "").split(">").map((end) => graph.byName.get(end));
  if (source === undefined || target === undefined) return -1;
  const { start, list } = graph.inputs;
  for (let at = start[target]; at < start[target + 1]; at++) if (graph.source[list[at]] === source) return list[at];
  return -1;
}

/** Move the selection in a direction. */
export function step(context, direction, key = "drawing") {
  const { layout, shown, graph, selected } = context.local[key].last;
  const next = nextNode(layout, linesOf(layout, shown), selected, direction);
  if (next < 0 || next === selected) return;
  const more = layout.under[next] >= 0 ? layout.more[layout.under[next]] : null;
  context.go({ sel: [graph.names[next]], edge: "" }, { isSoft: true });
  context.local[key].view?.reveal(next);
  context.say(more ? `${more.nodes.length} weaker nodes of this cell: Enter opens it` : spoken(graph, next));
}

/** A node in words, for screen readers. */
export function spoken(graph, node) {
  const [kind, layer, position] = [graph.kind[node], graph.layer[node], graph.position[node]];
  const token = clip(graph.prompt?.tokens?.[position] ?? "", 30);
  const where = kind <= 1 ? `layer ${layer}, at ${token}` : token;
  return `${KINDS[kind]} ${labelOf(graph, node)}, ${where}, influence ${Number(graph.influence[node]).toPrecision(2)}`;
}

/** Keys that every drawing has. */
export const DRAWING_KEYS = {
  ArrowLeft: ["node to the left", (context) => step(context, "left")],
  ArrowRight: ["node to the right", (context) => step(context, "right")],
  ArrowUp: ["node above", (context) => step(context, "up")],
  ArrowDown: ["node below", (context) => step(context, "down")],
  "[": ["strongest input", (context) => follow(context, "inputs", "source")],
  "]": ["strongest output", (context) => follow(context, "outputs", "target")],
  Enter: ["open the cell, or the details", enterNode],
  0: ["show everything", ({ go, local }) => {
    local.drawing.view?.fit();
    go({ box: [] });
    local.drawing.view?.settle();
  }],
  "+": ["zoom in", ({ local }) => local.drawing.view?.zoomBy(1.3)],
  "-": ["zoom out", ({ local }) => local.drawing.view?.zoomBy(1 / 1.3)],
  t: ["the graph as a table", ({ go, state }) => go({ table: !state.table })],
  Escape: ["select nothing", ({ go }) => go({ sel: [], edge: "" })],
};

function follow(context, side, end) {
  const { graph, selected, shown } = context.local.drawing.last;
  if (selected < 0) return;
  const { start, list } = graph[side];
  for (let at = start[selected]; at < start[selected + 1]; at++) {
    const next = graph[end][list[at]];
    if (!shown.nodes[next]) continue;
    context.go({ sel: [graph.names[next]] }, { isSoft: true });
    context.local.drawing.view?.reveal(next);
    context.say(spoken(graph, next));
    return;
  }
  context.say(`no ${side === "inputs" ? "input" : "output"} is shown`);
}

function enterNode({ local, go, state }) {
  const { layout, selected } = local.drawing.last;
  const more = selected >= 0 && layout.under[selected] >= 0 ? layout.more[layout.under[selected]] : null;
  if (more) go({ open: [...state.open, more.cell] });
  else document.querySelector(".panel")?.focus();
}
