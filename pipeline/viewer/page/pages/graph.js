// One prompt's graph: the drawing, what is selected, what is pinned, and what would happen if it were changed.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { FEATURE, featureOf, graphOf } from "viewer/graph/graph.js";
import { readNotes } from "viewer/notes.js";
import * as actions from "viewer/pages/graph/actions.js";
import { heading, scores, sliders } from "viewer/pages/graph/controls.js";
import { selection } from "viewer/pages/graph/panel.js";
import { subgraph } from "viewer/pages/graph/subgraph.js";
import { suggestions } from "viewer/pages/graph/suggestions.js";
import { effectsNow } from "viewer/pages/graph/effects.js";
import { graphTable } from "viewer/pages/graph/table.js";
import { answerOf, change, whatIf } from "viewer/pages/graph/whatif.js";
import { DRAWING_KEYS, drawing, edgeNamed, sceneOf } from "viewer/parts/drawing.js";
import { edit } from "viewer/parts/labels.js";
import { link, parse } from "viewer/state.js";

const EDGES = 20_000;
const MOST_EDGES = 200_000;

export const title = ({ key }) => key || "Graph";
export const needs = ({ key, all, view }) => [key, all, view];

export async function load(state, { signal, sweep }) {
  const [answer, notes] = await Promise.all([
    api.getPacked(`/api/graph/${api.part(state.key)}`, { edges: state.all ? MOST_EDGES : EDGES }, signal),
    readNotes(sweep),
  ]);
  const graph = graphOf(answer);
  return { graph, notes, effects: new Map((graph.effects ?? []).map((row) => [`${row.layer}/${row.feature}@${row.position}`, row.effect])) };
}

export function enter(context) {
  const { local, state, data, go, draw: again } = context;
  const before = local.graphOf;
  local.graphOf = state.key;
  if (before !== state.key) Object.assign(local, { past: null, now: 0, live: {} });
  const saved = state.view ? data.notes.views.find((note) => note.id === state.view) : null;
  if (saved) go({ ...parse(saved.state), view: "" });
  actions.neighbours(context).then((found) => {
    Object.assign(local, found);
    again();
  }, () => {});
}

export function draw(context) {
  const { state, data, local } = context;
  const { graph, notes } = data;
  actions.remember(local, state);
  const effects = painted(context);
  const labels = withGroups(notes, state);
  const scene = sceneOf(context, graph, { notes: labels, effects });
  const edge = edgeNamed(graph, state.edge);
  const missing = state.sel.filter((name) => !graph.byName.has(name));
  const canvas = state.table ? graphTable(context, graph, scene.shown, labels) : drawing(context, scene);
  if (state.embed) return h("div.graph.embed", {}, canvas, h("p.embed-line", {}, h("a", { href: link({ ...state, embed: false }, "graph", state.key, state), target: "_blank", rel: "noopener" }, state.key)));
  return h("div.graph", { class: state.full ? "is-full" : "" },
    heading(context, graph),
    scores(context, graph),
    sliders(context, graph, scene.shown, { hasEffects: effectsNow(context).size > 0 }),
    missing.length > 1 ? h("p.warned", {}, `Not in this graph: ${missing.slice(0, 9).join(", ")}`) : null,
    h("div.split", {},
      canvas,
      h("aside.panel", { tabindex: -1, "aria-label": "Details" },
        selection(context, graph, scene.shown, { notes: labels, edge }),
        whatIf(context, graph, labels),
        suggestions(context, graph))),
    subgraph(context, graph, labels));
}

/** The numbers that paint the nodes: changes of a run, or effects; a map that stays the same while they do. */
function painted(context) {
  const { state, local } = context;
  if (state.paint !== "what-if") return effectsNow(context);
  const answer = answerOf(context);
  if (local.painted?.answer !== answer) local.painted = { answer, changes: answer && new Map(answer.activations.map((row) => [row.node, row.after - row.before])) };
  return local.painted.changes;
}

/** Labels of features: those that were written, else the name of the kept group that holds them. */
function withGroups(notes, state) {
  const key = `${state.group.length}`;
  if (notes.merged?.key !== key) {
    const labels = new Map(notes.groups.flatMap((group) => (group.members ?? []).map((member) => [member, group.text])));
    for (const [member, text] of notes.labels) labels.set(member, text);
    notes.merged = { key, labels };
  }
  return notes.merged.labels;
}

const pin = ({ state, go }) => {
  const name = state.sel.at(-1);
  if (name) go({ pin: state.pin.includes(name) ? state.pin.filter((one) => one !== name) : [...state.pin, name] });
};
const selectedFeature = ({ state, data }) => {
  const node = data.graph.byName.get(state.sel.at(-1));
  return node !== undefined && data.graph.kind[node] === FEATURE ? data.graph.names[node] : "";
};
const toPrompt = (name) => ({ local, go, state }) => local[name] && go({ page: "graph", key: local[name], list: state.list, n: state.n, e: state.e, paint: state.paint }, { isNew: true });

export const keys = {
  ...DRAWING_KEYS,
  p: ["pin or unpin", pin],
  g: ["group what is selected", actions.group],
  u: ["ungroup", actions.ungroup],
  l: ["label the feature", (context) => selectedFeature(context) && edit(context, featureOf(selectedFeature(context)))],
  x: ["what if it were off", (context) => selectedFeature(context) && change(context, `${selectedFeature(context)}*0`)],
  f: ["open the feature", (context) => selectedFeature(context) && context.go({ page: "feature", key: featureOf(selectedFeature(context)) }, { isNew: true })],
  e: ["errors on or off", ({ state, go }) => go({ errors: !state.errors })],
  j: ["next prompt", toPrompt("after")],
  k: ["previous prompt", toPrompt("before")],
  z: ["undo", (context) => actions.undo(context, -1)],
  Z: ["redo", (context) => actions.undo(context, 1)],
};
