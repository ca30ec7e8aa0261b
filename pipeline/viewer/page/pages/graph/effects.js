// The effect of every kept feature, each ablated by itself in the live model: listed, painted, and set against influence.

import { h } from "viewer/elements.js";
import { labelOf } from "viewer/graph/scene.js";
import { ask, differing, known, standing } from "viewer/live.js";
import { signedBar } from "viewer/parts/histogram.js";
import { firstOf } from "viewer/parts/table.js";
import { clip, number, share } from "viewer/parts/text.js";

const FIRST = 12;

/** The model's answer, if it is of what is held now. */
const answerOf = (context) => {
  const { answer, body } = known(context, "effects");
  return body?.mode === (context.state.mode || "direct") ? answer : undefined;
};

/** Effects by node: of the live model where it was asked, else of the validation. */
export const effectsNow = (context) => {
  const answer = answerOf(context);
  if (answer) answer.byNode ??= new Map(answer.effects.map((row) => [row.node, row.logit]));
  return answer?.byNode ?? context.data.effects;
};

export function effects(context, graph, notes) {
  const { state, go } = context;
  const answer = answerOf(context);
  const start = async () => {
    if (!(await ask(context, "effects", "effects", { key: graph.prompt.key, mode: state.mode || "direct" }))) return;
    go({ paint: "effect" });
    setTimeout(() => document.querySelector(".scatter")?.scrollIntoView({ block: "nearest" }), 50);
  };
  return h("div.effects", { key: "effects" },
    standing(context, "effects"),
    h("p.tools", {}, h("button", { onclick: start, title: "Each kept feature set to 0 by itself, all in one batch" }, "Effect of every kept node")),
    answer ? shown(context, graph, answer, notes) : null);
}

function shown(context, graph, answer, notes) {
  const { go, state } = context;
  const rows = [...answer.effects].filter((row) => graph.byName.has(row.node)).sort((a, b) => Math.abs(b.logit) - Math.abs(a.logit));
  const most = Math.abs(rows[0]?.logit) || 1;
  const pick = (name) => () => go({ sel: [name], edge: "" });
  const [listed, more] = firstOf(context, "effects", rows, FIRST);
  return [
    differing(answer),
    h("p.soft", { key: "what" }, `Change of the logit of `, h("bdi.chip", {}, clip(answer.target, 20)), ` less the mean of all. Ranked alike with influence ${share(answer.by_influence)}, with the activation alone ${share(answer.by_activation)}.`),
    scatter(graph, rows, most, state, pick),
    h("table.tight", { key: "list" }, h("tbody", {}, listed.map((row) => h("tr", { key: row.node },
      h("th", { scope: "row" }, h("button.link", { onclick: pick(row.node), title: row.node }, h("bdi", {}, clip(labelOf(graph, graph.byName.get(row.node), notes), 22)))),
      h("td.soft", {}, row.node.split("@")[1] ? `@${row.node.split("@")[1]}` : ""),
      h("td", {}, h("span.cell", {}, signedBar(row.logit, most, 60), h("span", { class: row.logit < 0 ? "minus" : "plus" }, number(row.logit)))))))),
    more,
  ];
}

const SIZE = { width: 340, height: 150, left: 30, bottom: 20 };

/** Influence across, size of the effect up, both by their roots; a click selects. */
function scatter(graph, rows, most, state, pick) {
  const influence = (row) => graph.influence[graph.byName.get(row.node)];
  const largest = Math.max(1e-9, ...rows.map(influence));
  const x = (row) => SIZE.left + Math.sqrt(influence(row) / largest) * (SIZE.width - SIZE.left - 8);
  const y = (row) => 8 + (1 - Math.sqrt(Math.abs(row.logit) / most)) * (SIZE.height - SIZE.bottom - 8);
  return h("svg.scatter", { key: "scatter", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": `Influence against effect of ${rows.length} features` },
    h("path", { class: "axis", d: `M${SIZE.left} 4V${SIZE.height - SIZE.bottom}H${SIZE.width - 4}` }),
    h("text.tie", { x: SIZE.width - 4, y: SIZE.height - 6, "text-anchor": "end" }, `influence, to ${share(largest)}`),
    h("text.tie", { x: SIZE.left + 4, y: 12 }, `effect, to ${number(most)}`),
    rows.map((row) => h("circle", { key: row.node, cx: x(row).toFixed(1), cy: y(row).toFixed(1), r: state.sel.includes(row.node) ? 5 : 3, class: row.logit < 0 ? "minus" : "plus", onclick: pick(row.node) },
      h("title", {}, `${row.node}: influence ${share(influence(row))}, effect ${number(row.logit)}`))));
}
