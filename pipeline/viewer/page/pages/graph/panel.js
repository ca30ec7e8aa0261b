// The right-hand side: the selected node with its inputs and outputs, the selected edge, or the graph as a whole.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { edgesAt, ERROR, FEATURE, featureOf, KINDS, shareOf, TARGET, TOKEN } from "viewer/graph/graph.js";
import { labelOf } from "viewer/graph/scene.js";
import { change } from "viewer/pages/graph/whatif.js";
import { featureSummary } from "viewer/parts/feature.js";
import { shareBar, signedBar } from "viewer/parts/histogram.js";
import { labelField } from "viewer/parts/labels.js";
import { heads } from "viewer/parts/table.js";
import { clip, count, number, share, signed } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

const FIRST = 9;

/** What is selected, or the graph's strongest nodes. */
export function selection(context, graph, shown, { notes, edge }) {
  const { state } = context;
  const name = state.sel.at(-1);
  if (edge >= 0) return edgePanel(context, graph, edge, notes);
  if (!name) return strongest(context, graph, shown, notes);
  const node = graph.byName.get(name);
  if (node === undefined) {
    return h("p.warned", { role: "alert" }, "The link names ", h("code", {}, clip(name, 40)), ", which is not a node of this graph: it was pruned away, or the graph is of another version.");
  }
  return nodePanel(context, graph, node, shown, notes);
}

function nodePanel(context, graph, node, shown, notes) {
  const { state, go } = context;
  const name = graph.names[node];
  const feature = featureOf(name);
  const isPinned = state.pin.includes(name);
  const token = graph.prompt.tokens[graph.position[node]] ?? "";
  const pin = () => go({ pin: isPinned ? state.pin.filter((one) => one !== name) : [...state.pin, name] });
  return h("section", { key: name },
    h("h2", {}, h("span.kind", { class: KINDS[graph.kind[node]] }), feature ? h("a", { href: link(state, "feature", feature) }, feature) : clip(labelOf(graph, node), 30),
      graph.kind[node] <= ERROR ? h("small", {}, ` @${graph.position[node]} `, h("bdi", {}, clip(token, 24))) : null),
    feature ? labelField(context, feature) : null,
    shown.nodes[node] ? null : h("p.warned", {}, "Hidden by the sliders. ", h("button.small", { onclick: pin }, "pin it")),
    h("p.facts", {}, facts(graph, node).map(([what, value]) => h("span", { key: what }, `${what} `, h("b", {}, value)))),
    h("p.tools", {},
      h("button", { onclick: pin, "aria-pressed": String(isPinned), title: "p" }, isPinned ? "Unpin" : "Pin"),
      graph.kind[node] === FEATURE && "run" in state ? h("button", { title: "x", onclick: () => change(context, `${name}*0`) }, "What if it were off?") : null,
      feature ? h("a.button", { href: link(state, "feature", feature), title: "f" }, "Feature") : null),
    h("div.ends", {},
      ends(context, graph, shown, notes, { side: "inputs", end: "source", node, title: "Inputs" }),
      ends(context, graph, shown, notes, { side: "outputs", end: "target", node, title: "Outputs" })),
    feature ? featureSummary(context, feature) : null);
}

function facts(graph, node) {
  const kind = graph.kind[node];
  if (kind === TARGET) return [["probability", share(graph.activation[node])]];
  const all = [["influence", share(graph.influence[node])], ["stability", share(graph.stability[node])]];
  if (kind === FEATURE) return [["activation", number(graph.activation[node])], ...all];
  return kind === TOKEN ? all.slice(0, 1) : [["size", number(graph.error_norm?.[node])], ...all];
}

/** A list of the other ends, strongest share first, with what it leaves out. */
function ends({ state, go, local, draw }, graph, shown, notes, { side, end, node, title }) {
  const edges = [...edgesAt(graph[side], node)];
  const shares = new Map(edges.map((edge) => [edge, shareOf(graph, edge)]));
  edges.sort((a, b) => Math.abs(shares.get(b)) - Math.abs(shares.get(a)) || a - b);
  const isAll = local[`all ${side}`] === node;
  const listed = isAll ? edges : edges.slice(0, FIRST);
  const kept = edges.reduce((sum, edge) => sum + Math.abs(shares.get(edge)), 0);
  const most = Math.max(1e-9, ...edges.slice(0, 1).map((edge) => Math.abs(shares.get(edge))));
  const toggle = () => {
    local[`all ${side}`] = isAll ? -1 : node;
    draw();
  };
  return h("div", { key: side },
    h("h3", {}, title, h("small", {}, edges.length ? ` ${count(edges.length)}${side === "inputs" ? `, ${share(kept)} of all input` : ""}` : " none")),
    h("ul.plain.edges", {}, listed.map((edge) => {
      const other = graph[end][edge];
      const name = graph.names[other];
      return h("li", { key: edge, class: shown.nodes[other] ? "" : "is-hidden-node" },
        h("span.value", { class: shares.get(edge) < 0 ? "minus" : "plus", title: `weight ${number(graph.weight[edge])}` }, signed(shares.get(edge))),
        signedBar(shares.get(edge), most, 44),
        h("button.link", { onclick: () => go({ sel: [name], edge: "" }), title: name }, endName(graph, other, notes)));
    })),
    edges.length > FIRST ? h("button.small", { onclick: toggle }, isAll ? "fewer" : `all ${count(edges.length)}`) : null);
}

function endName(graph, node, notes) {
  const label = labelOf(graph, node, notes);
  const where = graph.kind[node] <= ERROR ? `@${graph.position[node]}` : "";
  const note = notes?.get(featureOf(graph.names[node]));
  return [h("bdi", {}, clip(label, 22)), h("span.soft", {}, where, note ? ` ${featureOf(graph.names[node])}` : "",
    graph.kind[node] === FEATURE && !note ? [" ", h("bdi", {}, clip(graph.prompt.tokens[graph.position[node]] ?? "", 14))] : null)];
}

function edgePanel(context, graph, edge, notes) {
  const { state, go } = context;
  const [source, target] = [graph.source[edge], graph.target[edge]];
  const end = (node) => h("button.link", { onclick: () => go({ sel: [graph.names[node]], edge: "" }) }, h("bdi", {}, clip(labelOf(graph, node, notes), 24)), ` ${graph.names[node]}`);
  const where = sqlOfEdge(graph, source, target);
  return h("section", { key: `edge ${edge}` },
    h("h2", {}, "Edge"),
    h("p", {}, end(source), " → ", end(target)),
    h("p.facts", {}, h("span", {}, "weight ", h("b", {}, number(graph.weight[edge]))), h("span", {}, "share of the target's input ", h("b", {}, signed(shareOf(graph, edge)))),
      h("span", {}, "score ", h("b", {}, number(graph.score[edge]))), graph.edge_stability ? h("span", {}, "stability ", h("b", {}, share(graph.edge_stability[edge]))) : null),
    where ? h("p", {}, h("a.button", { href: link(state, "prompts", "", { where }) }, "Prompts that have this edge")) : null,
    graph.typed || !graph.prompt?.key ? null : carriers(context, graph, edge));
}

/** Which heads carry the edge and where they look, asked for when an edge is first looked at. */
function carriers({ local, draw }, graph, edge) {
  const held = (local.loadings ??= {});
  const { id } = graph.prompt;
  if (!(id in held)) {
    held[id] = null;
    api.get(`/api/loadings/${api.part(id)}`).then((found) => (held[id] = found), (error) => (held[id] = { error })).then(draw);
  }
  if (!held[id]) return h("p.busy", {}, "Asking for its paths …");
  const rows = held[id].edges?.[`${graph.names[graph.source[edge]]}>${graph.names[graph.target[edge]]}`];
  if (!rows) return h("p.empty", {}, held[id].error?.message ?? "Not split by heads: only each graph's strongest edges are (`attribution.head_loadings` in the sweep's file says how many).");
  const sum = (of) => rows.reduce((total, row) => total + row[of], 0);
  const name = ({ path, head_layer: layer, head, key_position: at }) => path === "head"
    ? [`head ${layer}.${head} at `, h("bdi.chip", {}, clip(graph.prompt.tokens[at] ?? "", 16)), h("span.soft", {}, ` @${at}`)]
    : path === "residual" ? "residual stream, no head" : "heads below 5% each";
  const most = Math.max(...rows.map((row) => Math.abs(row.share)));
  return h("div", { key: "carriers" }, h("h3", {}, "Carried by"), h("table.tight", {},
    heads("path", "#share", "#weight"),
    h("tbody", {}, rows.map((row, i) => h("tr", { key: i }, h("th", { scope: "row" }, name(row)),
      h("td.number", {}, h("span.cell", {}, signedBar(row.share, most, 44), signed(row.share))), h("td.number", {}, number(row.loading)))),
      h("tr", { key: "sum" }, h("th", { scope: "row" }, "sum"), h("td.number", {}, signed(sum("share"))), h("td.number", {}, number(sum("loading")))))));
}

function sqlOfEdge(graph, source, target) {
  if (graph.kind[source] !== FEATURE) return "";
  const is = (end, node) => `${end}_layer = ${graph.layer[node]} and ${end}_feature = ${graph.feature[node]}`;
  const explained = graph.kind[target] === TARGET ? graph.targets?.[Number(graph.names[target].slice(1))] : null;
  const other = explained ? `target_kind = 'logit'${explained.kind === "token" ? ` and target_token_id = ${explained.token_ids[0]}` : ""}` : is("target", target);
  return `prompt_key in (select prompt_key from edges where ${is("source", source)} and ${other})`;
}

function strongest({ state, go }, graph, shown, notes) {
  const features = [...graph.kind.keys()].filter((node) => graph.kind[node] === FEATURE && shown.nodes[node]);
  features.sort((a, b) => graph.influence[b] - graph.influence[a] || a - b);
  const most = graph.influence[features[0]] || 1;
  return h("section", { key: "strongest" },
    h("h2", {}, "Strongest features ", h("small", {}, "click one, here or in the drawing")),
    h("table.tight", {}, h("tbody", {}, features.slice(0, 14).map((node) =>
      h("tr", { key: node },
        h("th", { scope: "row" }, h("button.link", { onclick: () => go({ sel: [graph.names[node]] }) }, h("bdi", {}, clip(labelOf(graph, node, notes), 24)))),
        h("td", {}, h("bdi.soft", {}, `@${graph.position[node]} ${clip(graph.prompt.tokens[graph.position[node]], 14)}`)),
        h("td", {}, h("span.cell", {}, shareBar(graph.influence[node] / most, 56), share(graph.influence[node]))))))),
    state.paint === "influence" ? h("p.legend", {}, legend()) : null);
}

/** What shapes and strokes mean. */
export function legend() {
  const shape = (name) => h("span.kind", { class: name });
  return [shape("feature"), "feature ", shape("error"), "error ", shape("token"), "token ", shape("target"), "target · ",
    h("span.stroke.plus"), "pushes up ", h("span.stroke.minus"), "pushes down"];
}
