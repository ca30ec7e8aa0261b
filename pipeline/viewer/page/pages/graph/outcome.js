// What a run did: answers and activations before and after, beside what the graph's edges predict.

import { h } from "viewer/elements.js";
import { featureOf } from "viewer/graph/graph.js";
import { predictedOf, sharesOf } from "viewer/graph/predicted.js";
import { labelOf } from "viewer/graph/scene.js";
import { differing } from "viewer/live.js";
import { saveRun } from "viewer/pages/graph/runs.js";
import { command } from "viewer/parts/command.js";
import { firstOf, heads } from "viewer/parts/table.js";
import { clip, count, share, short } from "viewer/parts/text.js";

const FIRST = 8;

export function outcome(context, graph, answer, notes, { canSave }) {
  if (!answer) return null;
  const predicted = predictedOf(graph, sharesOf(graph, answer.changes));
  return h("div", { key: "outcome" },
    differing(answer),
    h("div.scroll", {}, h("table.tight", {},
      heads("answer", "#before", "#after", "#logit", "#predicted"),
      h("tbody", {}, answer.tokens.slice(0, 10).map((row, i) => h("tr", { key: i },
        h("th", { scope: "row" }, h("bdi.chip", {}, clip(row.label, 20))), h("td.number", {}, share(row.before)), h("td.number", {}, share(row.after)),
        h("td.number", { class: row.logit_change < 0 ? "minus" : "plus" }, delta(row.logit_change)), h("td.number", {}, ofTarget(graph, row, predicted))))))),
    activations(context, graph, answer, predicted, notes),
    h("p.soft", {}, "Logits are less the mean of all. Predicted by the graph: over changed nodes, the sum of weight × share of change, passed on from node to node along its edges."),
    canSave ? saveRun(context, graph, answer) : null,
    h("details", { key: "printed" }, h("summary", {}, "Python that repeats it"), command(answer.printed, { isBlock: true })));
}

const delta = (value) => (value > 0 ? `+${short(value)}` : short(value));

/** Targets of the graph are predicted; other tokens are no nodes. */
function ofTarget(graph, row, predicted) {
  const at = (graph.targets ?? []).findIndex((target) => target.kind === "token" && target.token_ids?.[0] === row.token_id);
  const node = at < 0 ? undefined : graph.byName.get(`y${at}`);
  return node === undefined ? "" : delta(predicted[node]);
}

function activations(context, graph, answer, predicted, notes) {
  const { go } = context;
  const changed = answer.activations.filter((row) => Math.abs(row.after - row.before) > 1e-6 && graph.byName.has(row.node));
  changed.sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
  const [listed, more] = firstOf(context, "activations", changed, FIRST);
  return h("div.scroll", {}, h("table.tight", {},
    heads(`${count(changed.length)} of ${count(answer.activations.length)} changed`, "#before", "#after", "#change", "#predicted"),
    h("tbody", {}, listed.map((row) => {
      const node = graph.byName.get(row.node);
      return h("tr", { key: row.node },
        h("th", { scope: "row" }, h("button.link", { onclick: () => go({ sel: [row.node], edge: "" }) }, h("bdi", {}, clip(notes?.get(featureOf(row.node)) ? labelOf(graph, node, notes) : row.node, 22)))),
        h("td.number", {}, short(row.before)), h("td.number", {}, short(row.after)),
        h("td.number", { class: row.after < row.before ? "minus" : "plus" }, delta(row.after - row.before)), h("td.number", {}, delta(predicted[node])));
    }))), more);
}
