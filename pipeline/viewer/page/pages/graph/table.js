// The graph as a table: every node that is shown, with the same numbers as the drawing.

import { h } from "viewer/elements.js";
import { edgesAt, featureOf, KINDS } from "viewer/graph/graph.js";
import { labelOf } from "viewer/graph/scene.js";
import { firstOf, heads } from "viewer/parts/table.js";
import { clip, count, number, share } from "viewer/parts/text.js";

const FIRST = 200;

export function graphTable(context, graph, shown, notes) {
  const { state, go } = context;
  const nodes = [...graph.kind.keys()].filter((node) => shown.nodes[node]);
  nodes.sort((a, b) => graph.influence[b] - graph.influence[a] || a - b);
  const [listed, more] = firstOf(context, "nodes", nodes, FIRST);
  return h("div.scroll.graph-table", { key: "table", tabindex: 0, role: "region", "aria-label": "Nodes of the graph" },
    h("table", {},
      heads("node", "kind", "label", "token", "#activation", "#influence", "#cumulative", "#stability", "#inputs", "#outputs"),
      h("tbody", {}, listed.map((node) => {
        const name = graph.names[node];
        return h("tr", { key: name, class: state.sel.includes(name) ? "is-selected" : "" },
          h("th", { scope: "row" }, h("button.link", { onclick: () => go({ sel: [name], edge: "" }) }, name)),
          h("td", {}, KINDS[graph.kind[node]]),
          h("td", {}, h("bdi", {}, clip(notes?.get(featureOf(name)) ?? (graph.kind[node] >= 2 ? labelOf(graph, node) : ""), 40))),
          h("td", {}, h("bdi", {}, clip(graph.prompt?.tokens?.[graph.position[node]] ?? "", 24))),
          h("td.number", {}, number(graph.activation[node])),
          h("td.number", {}, share(graph.influence[node])),
          h("td.number", {}, share(graph.cumulative[node])),
          h("td.number", {}, share(graph.stability[node])),
          h("td.number", {}, count(edgesAt(graph.inputs, node).length)),
          h("td.number", {}, count(edgesAt(graph.outputs, node).length)));
      }))),
    more);
}
