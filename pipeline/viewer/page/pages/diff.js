// Two graphs compared: the same prompt on two nights or in two sweeps, or two prompts aligned from their ends.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { FEATURE, graphOf } from "viewer/graph/graph.js";
import { BOTH, CHANGED, ONLY_A, ONLY_B, unionOf } from "viewer/graph/union.js";
import { featureOf } from "viewer/graph/graph.js";
import { DRAWING_KEYS, drawing, sceneOf } from "viewer/parts/drawing.js";
import { tokenRow } from "viewer/parts/tokens.js";
import { heads } from "viewer/parts/table.js";
import { clip, count, number, share } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = ({ key }) => (key ? `Compare ${key}` : "Compare");
export const needs = ({ key, prompt, b }) => [key, prompt, b];

export async function load({ key, prompt, b }, { signal, sweep }) {
  if (!key) return { sweep };
  const other = b === "other" ? { of: "other" } : b ? { at: b } : {};
  const [first, second] = await Promise.all([
    api.getPacked(`/api/graph/${api.part(key)}`, b === "other" ? { of: "here" } : {}, signal),
    api.getPacked(`/api/graph/${api.part(prompt || key)}`, other, signal),
  ]);
  return compared(graphOf(first), graphOf(second));
}

/** The union of two graphs, with what a page shows of it. */
export function compared(a, b) {
  const isSamePrompt = JSON.stringify(a.prompt.tokens) === JSON.stringify(b.prompt.tokens);
  const union = unionOf(a, b, isSamePrompt);
  const counts = [BOTH, ONLY_A, ONLY_B, CHANGED].map((state) => union.states.filter((one, node) => one === state && union.kind[node] === FEATURE).length);
  return { a, b, union, counts, paint: Float64Array.from(union.states, (one) => SHADES[one]) };
}

/** Fills of the drawing: hollow, full, half and grey, so that colour is not needed to tell them apart. */
const SHADES = { [ONLY_A]: 0, [ONLY_B]: 1, [CHANGED]: 3, [BOTH]: 2 };
const SIGNS = { [ONLY_A]: "○", [ONLY_B]: "●", [CHANGED]: "◐", [BOTH]: "·" };

export function draw(context) {
  const { data, state } = context;
  if (!data.union) return choose(context);
  return [
    h("h1", {}, "Compare ", h("bdi", {}, clip(state.key, 50)), h("small", {}, " with ", h("bdi", {}, clip(state.prompt || (state.b === "other" ? "the other sweep" : `version or date ${state.b}`), 60)))),
    ...comparison(context, data),
  ];
}

/** Both prompts, the union drawn, and the table of what differs. */
export function comparison(context, data) {
  const { a, b, union, counts, paint } = data;
  const scene = sceneOf(context, union, { paint });
  return [
    h("div.pair", {}, side("A", a), side("B", b)),
    a.matches && b.matches ? unmatched(a.matches, b.matches) : null,
    h("p.legend", {}, `features: ${SIGNS[BOTH]} in both ${count(counts[0])} · ${SIGNS[ONLY_A]} only in A ${count(counts[1])} · ${SIGNS[ONLY_B]} only in B ${count(counts[2])} · ${SIGNS[CHANGED]} in both, changed ${count(counts[3])} `,
      h("span.soft", {}, b.matches ? "(changed: influence by more than 5 %; activations of two dictionaries have different units)" : "(changed: activation or influence by more than 5 %)")),
    h("div.split", {}, drawing(context, scene), h("aside.panel", { tabindex: -1, "aria-label": "Differences" }, differences(context, data, scene))),
  ];
}

/** How much of two graphs of different dictionaries has no counterpart, and is therefore in one of them only. */
function unmatched(a, b) {
  const part = (name, { features, matched, influence, matched_influence: of }) =>
    `${count(features - matched)} of ${name}’s ${count(features)} features (${share(influence > 0 ? 1 - of / influence : 0)} of their influence)`;
  return h("p.unmatched", {}, "The dictionaries differ. Unmatched, so found in one graph only: ", part("A", a), ", ", part("B", b), ". ",
    h("span.soft", {}, "B’s features stand at their matches in A, by ", h("bdi", {}, clip(a.folder, 60)), "."));
}

function side(name, graph) {
  return h("div.card", {}, h("h2", {}, `${name} · `, h("bdi", {}, clip(graph.prompt.id, 50))),
    h("p", {}, tokenRow(graph.prompt.tokens, { limit: 80 }), h("span.arrow", {}, "→"), graph.targets.slice(0, 3).map((t, i) => h("span", { key: i }, h("bdi.chip.target", {}, clip(t.label, 20)), ` ${share(t.probability)} `))),
    h("p.facts", {}, h("span", {}, "replacement ", h("b", {}, share(graph.scores?.replacement_score))), h("span", {}, "completeness ", h("b", {}, share(graph.scores?.completeness_score)))));
}

function differences({ state, go }, { a, b, union }, { selected }) {
  const rows = union.states.map((one, node) => ({ one, node })).filter(({ one, node }) => one !== BOTH && union.kind[node] === FEATURE);
  rows.sort((x, y) => union.influence[y.node] - union.influence[x.node] || x.node - y.node);
  const value = (graph, node, name) => (node >= 0 ? number(graph[name][node]) : "–");
  if (!rows.length) return h("p.empty", {}, "No feature differs.");
  return h("table.tight", {},
    heads("", "feature", "#act A", "#act B", "#infl A", "#infl B"),
    h("tbody", {}, rows.slice(0, 80).map(({ one, node }) => {
      const row = union.rows[node];
      return h("tr", { key: node, class: node === selected ? "is-selected" : "" },
        h("td", { title: { [ONLY_A]: "only in A", [ONLY_B]: "only in B", [CHANGED]: "changed" }[one] }, SIGNS[one]),
        h("th", { scope: "row" }, h("button.link", { onclick: () => go({ sel: [union.names[node]] }) }, union.names[node]), " ",
          b.matches && row.b >= 0 && !row.isOwn ? h("span.soft", {}, `B: ${featureOf(b.names[row.b])} `) : null,
          row.isOwn ? null : h("a.soft", { href: link(state, "feature", featureOf(union.names[node])), "aria-label": `Feature ${featureOf(union.names[node])}` }, "→")),
        h("td.number", {}, value(a, row.a, "activation")), h("td.number", {}, value(b, row.b, "activation")),
        h("td.number", {}, value(a, row.a, "influence")), h("td.number", {}, value(b, row.b, "influence")));
    })));
}

function choose({ sweep, go }) {
  const ask = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    go({ page: "diff", key: given.get("a"), prompt: given.get("b"), b: given.get("night") ?? "" }, { isNew: true });
  };
  return [
    h("h1", {}, "Compare"),
    h("form.card", { onsubmit: ask },
      h("p", {}, h("label", {}, "Prompt A ", h("input", { name: "a", required: true, placeholder: "id of a prompt" }))),
      h("p", {}, h("label", {}, "with prompt B ", h("input", { name: "b", placeholder: "id of another prompt; empty: the same" }))),
      sweep.versions.length || sweep.diff ? h("p", {}, h("label", {}, "in ", h("select", { name: "night" }, h("option", { value: "" }, "this state"),
        sweep.diff ? h("option", { value: "other" }, `the other sweep, ${clip(sweep.diff, 40)}`) : null,
        sweep.versions.map((version) => h("option", { key: version.number, value: String(version.number) }, `version ${version.number}`))))) : null,
      h("p", {}, h("button.primary", {}, "Compare"))),
    h("p.hint", {}, "Or tick two prompts in the table of prompts. For two whole sweeps: `circuit-sweep view A --diff B`."),
  ];
}

export const keys = DRAWING_KEYS;
