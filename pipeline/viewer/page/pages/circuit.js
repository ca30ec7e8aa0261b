// A circuit that many prompts share: positions collapsed to the mean distance from the end, edges kept by how many
// prompts have them and how well their signs agree.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { featureOf, graphOf } from "viewer/graph/graph.js";
import { readNotes } from "viewer/notes.js";
import { command } from "viewer/parts/command.js";
import { DRAWING_KEYS, drawing, edgeNamed, sceneOf } from "viewer/parts/drawing.js";
import { shareBar, signedBar } from "viewer/parts/histogram.js";
import { heads } from "viewer/parts/table.js";
import { clip, count, number, percent, plural, share, short } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = ({ label, found }) => (found || label ? `Circuit ${found || label}` : "Circuits");
export const needs = ({ label, keys, source, found }) => [label, keys, source, found];

export async function load({ label, keys, source, found: name }, { signal, sweep }) {
  const notes = await readNotes(sweep);
  if (!label && !keys.length && !source && !name) return { notes, choices: await choices() };
  const found = await api.get("/api/circuit", { label, keys: keys.join(","), feature: source, circuit: name }, signal);
  return { notes, found };
}

async function choices() {
  const [overview, discovered] = await Promise.all([api.get("/api/overview"), api.isExported ? null : api.get("/api/circuits")]);
  const all = api.isExported ? (await api.get("/api/prompts")).rows.map((row) => row.id) : [];
  return { discovered, group: overview.group, families: overview.families.map(({ family, n }) => ({ family, n })), all };
}

/** The circuit's edges that pass the filters, as a graph that can be drawn. */
function filtered(found, min, sign) {
  const edges = found.edges.filter((edge) => edge.share >= min && edge.sign >= sign);
  const used = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
  const index = new Map([...used].sort((a, b) => a - b).map((node, at) => [node, at]));
  const nodes = [...index.keys()].map((node) => found.nodes[node]);
  const places = [...new Set(nodes.map((node) => placeOf(node)))].sort((a, b) => b - a);
  const column = (Type, of) => Type.from(nodes, of);
  edges.sort((a, b) => b.score - a.score);
  const graph = graphOf({
      header: {
        layers: found.layers,
        prompt: { id: found.label || "these prompts", tokens: places.map((place) => found.places?.[place] ?? (place === 0 ? "last token" : `${place} before`)) },
        targets: nodes.filter((node) => node.kind === 3).map((node) => ({ label: node.label })),
      },
      arrays: {
        kind: column(Uint8Array, (node) => node.kind), layer: column(Int32Array, (node) => node.layer ?? -1), feature: column(Uint32Array, (node) => node.feature ?? 0),
        position: column(Uint32Array, (node) => places.indexOf(placeOf(node))), activation: column(Float32Array, (node) => node.share), influence: column(Float32Array, (node) => node.influence),
        cumulative: new Float32Array(nodes.length), total_input: new Float32Array(nodes.length), stability: column(Float32Array, (node) => node.share),
        source: Uint32Array.from(edges, (edge) => index.get(edge.source)), target: Uint32Array.from(edges, (edge) => index.get(edge.target)),
        weight: Float32Array.from(edges, (edge) => edge.weight), score: Float32Array.from(edges, (edge) => edge.score),
      },
  });
  // A column is a distance from the end here, so tokens say themselves what they are.
  graph.nodeLabels = nodes.map((node) => node.label);
  return { edges, nodes, graph };
}

const placeOf = (node) => (node.kind === 3 ? 0 : Math.round(node.from_end ?? 0));

export function draw(context) {
  const { state, data, local, go } = context;
  if (data.choices) return choose(context);
  const { found, notes } = data;
  const min = Math.min(state.min, Math.max(0, ...found.edges.map((edge) => edge.share)));
  const key = `${min} ${state.sign}`;
  if (local.cut?.key !== key || local.cut.found !== found) local.cut = { key, found, ...filtered(found, min, state.sign) };
  const { graph, edges, nodes } = local.cut;
  const slide = (name) => (event) => go({ [name]: Number(event.target.value) }, { isSoft: true });
  const scene = edges.length ? sceneOf({ ...context, state: { ...state, n: 1, e: 1, errors: true } }, graph, { notes: notes.labels }) : null;
  return [
    h("h1", {}, "Circuit ", h("bdi", {}, clip(found.label || (state.source ? `of prompts with ${state.source}` : "of these prompts"), 60)), h("small", {}, ` ${plural(found.clusters ?? found.prompts, found.clusters ? "cluster" : "prompt")}, from ${found.from ?? "edges"}`)),
    h("div.sliders", {},
      h("label", {}, "in at least ", h("input", { type: "range", min: 0, max: 1, step: 0.01, value: min, oninput: slide("min") }), h("output", {}, `${percent(min)} of ${found.clusters ? "clusters" : "prompts"}`)),
      h("label", {}, "signs agree ", h("input", { type: "range", min: 0, max: 1, step: 0.01, value: state.sign, oninput: slide("sign") }), h("output", {}, percent(state.sign))),
      h("span.hidden-count", {}, `${count(edges.length)} of ${count(found.edges.length)} edges shown`, found.total_edges > found.edges.length ? `; the ${count(found.edges.length)} strongest of ${count(found.total_edges)} are here` : "")),
    scene ? h("div.split", {}, drawing(context, scene), h("aside.panel", { tabindex: -1, "aria-label": "Details" }, details(context, graph, edges, nodes)))
      : h("p.empty", {}, "No edge is in so many prompts: move the first slider to the left."),
  ];
}

function details({ state, go, data }, graph, edges, nodes) {
  const chosen = edgeNamed(graph, state.edge);
  const selected = graph.byName.get(state.sel.at(-1));
  if (chosen >= 0) return edgeDetails({ state, data }, graph, nodes, edges[chosen], chosen);
  const listed = edges.map((edge, at) => ({ edge, at })).filter(({ at }) => selected === undefined || graph.source[at] === selected || graph.target[at] === selected);
  const most = Math.max(1e-9, ...listed.map(({ edge }) => Math.abs(edge.weight)));
  const feature = selected === undefined ? "" : featureOf(graph.names[selected]);
  const name = (node) => clip(nodes[node].label || featureOf(graph.names[node]) || graph.names[node], 20);
  return [
    h("h2", {}, selected === undefined ? "Strongest edges" : [feature ? h("a", { href: link(state, "feature", feature) }, feature) : name(selected), h("small", {}, ` in ${percent(nodes[selected].share)} of the ${data.found.clusters ? "clusters" : "prompts"}`)]),
    selected !== undefined && nodes[selected].supernode ? h("p", {}, h("span.soft", {}, "supernode "), h("bdi", {}, clip(nodes[selected].supernode, 200))) : null,
    h("table.tight", {},
      data.found.clusters ? heads("edge", "clusters", "of influence", "#one sign") : heads("edge", "prompts", "mean weight", "#one sign"),
      h("tbody", {}, listed.slice(0, 40).map(({ edge, at }) => h("tr", { key: at },
        h("th", { scope: "row" }, h("button.link", { onclick: () => go({ edge: `${graph.names[graph.source[at]]}>${graph.names[graph.target[at]]}` }) }, h("bdi", {}, name(graph.source[at])), " → ", h("bdi", {}, name(graph.target[at])))),
        h("td", {}, h("span.cell", {}, shareBar(edge.share, 24), percent(edge.share))),
        h("td", {}, h("span.cell", {}, signedBar(edge.weight, most, 28), short(edge.weight))),
        h("td.number", {}, percent(edge.sign)))))),
  ];
}

function edgeDetails({ state, data }, graph, nodes, edge, at) {
  const [source, target] = [graph.source[at], graph.target[at]];
  // What names a node when positions are collapsed, as the server put the edges together.
  const is = (end, { kind, layer, feature }) => `${end}_kind = '${["feature", "error", "token", "logit"][kind]}'${kind <= 1 ? ` and ${end}_layer = ${layer}` : ""}${feature === null || kind === 1 ? "" : ` and coalesce(${end}_feature, ${end}_token_id) = ${feature}`}`;
  const where = `prompt_key in (select prompt_key from edges where ${is("source", nodes[source])} and ${is("target", nodes[target])})`;
  const group = data.found.label && data.found.group && !data.found.clusters ? [`${data.found.group}=${data.found.label}`] : [];
  return h("section", {},
    h("h2", {}, graph.names[source], " → ", graph.names[target]),
    h("p.facts", {}, h("span", {}, "in ", h("b", {}, percent(edge.share)), edge.support === null ? " of its clusters" : ` (${plural(edge.support, "prompt")})`), h("span", {}, data.found.clusters ? "of the influence, signed " : "mean weight ", h("b", {}, number(edge.weight))), h("span", {}, "signs agree ", h("b", {}, share(edge.sign))), edge.q === null || edge.q === undefined ? null : h("span", {}, "q ", h("b", {}, number(edge.q)))),
    h("p", {}, h("a.button", { href: link(state, "prompts", "", { where, is: group }) }, data.found.clusters ? "Prompts with it at any positions" : "Prompts that have it")),
    [source, target].map((node) => featureOf(graph.names[node]) ? h("p", { key: node }, h("a", { href: link(state, "feature", featureOf(graph.names[node])) }, `feature ${featureOf(graph.names[node])} →`)) : null));
}

function choose({ state, data, sweep }) {
  const { families, group, all } = data.choices;
  const noted = data.notes.groups;
  return [
    h("h1", {}, "Circuits"),
    h("p", {}, "What the graphs of many prompts share: each edge with the share of prompts that have it. Choose a group here, or tick prompts in the ", h("a", { href: link(state, "prompts") }, "table"), "."),
    all.length ? h("p", {}, h("a", { href: link(state, "circuit", "", { keys: all }) }, `All ${plural(all.length, "prompt")} of this page`)) : null,
    discoveredTable(state, data.choices.discovered),
    group ? h("section.card", {}, h("h2", {}, `By ${clip(group, 30)}`), h("table.tight", {}, h("tbody", {}, families.map((row) => h("tr", { key: row.family },
      h("th", { scope: "row" }, h("a", { href: link(state, "circuit", "", { label: row.family }) }, h("bdi", {}, clip(row.family || "(none)", 40)))), h("td.number", {}, plural(row.n, "prompt"))))))) : h("p.empty", {}, "The prompts have no column `family`."),
    sweep.missing?.edge_stats ? h("p.empty", {}, "Groups of more than 200 prompts need the mined table: ", command(sweep.missing.edge_stats)) : null,
    noted.length ? h("p.soft", {}, `${plural(noted.length, "supernode")} of yours are drawn in too.`) : null,
  ];
}

/** Circuits that `discover` found, with what tests on prompts that had no part in finding them say. */
function discoveredTable(state, discovered) {
  if (!discovered) return null;
  const { rows, command: made } = discovered;
  if (!rows.length) return h("p.empty", {}, "Circuits that recur, tested on prompts that had no part in finding them, come from ", command(made));
  const tested = (test) => (test ? [h("b", {}, share(test.value)), test.low === null ? null : h("span.soft", {}, ` ${share(test.low)} to ${share(test.high)}`)] : "–");
  return h("section.card", { key: "discovered" }, h("h2", {}, "Discovered ", h("small", {}, "on half of the prompts, tested on the others")), h("div.scroll", {}, h("table.tight", {},
    heads("circuit", "#features", "#edges", "#clusters", "#share", "#necessity, 95%", "#sufficiency, 95%", "along the way"),
    h("tbody", {}, rows.map((row) => h("tr", { key: row.circuit },
      h("th", { scope: "row" }, h("a", { href: link(state, "circuit", "", { found: row.circuit, min: 0 }) }, h("bdi", {}, clip(row.circuit, 40)))),
      h("td.number", {}, count(row.nodes)), h("td.number", {}, count(row.edges)), h("td.number", {}, count(row.clusters)),
      h("td.number", {}, share(row.share)), h("td.number", {}, tested(row.necessity)), h("td.number", {}, tested(row.sufficiency)), h("td.way", {}, h("bdi", {}, clip(row.name, 90)))))))));
}

export const keys = DRAWING_KEYS;
