// The subgraph of what is pinned: supernodes collapsed, ties between them, and its own scores.

import { h } from "viewer/elements.js";
import { FEATURE, TARGET } from "viewer/graph/graph.js";
import { nodesOf, partsOf, readGroup, scoresOf, tiesOf } from "viewer/graph/groups.js";
import { keepGroup } from "viewer/pages/graph/actions.js";
import { labelOf } from "viewer/graph/scene.js";
import { ask, hasModel, known, standing } from "viewer/live.js";
import { clip, share, signed } from "viewer/parts/text.js";

const BOX = { width: 128, height: 34 };
const LINE = 78;

export function subgraph(context, graph, notes) {
  const { state, go } = context;
  const groups = state.group.map(readGroup);
  const pinned = state.pin.map((name) => graph.byName.get(name)).filter((node) => node !== undefined);
  const parts = partsOf(graph, groups, pinned);
  if (!parts.length) return h("p.hint", {}, "Pin nodes (p) or group several (shift-click or shift-drag, then g): here they become a subgraph with its own scores.");
  const ties = tiesOf(graph, parts);
  const features = parts.flatMap((part) => part.nodes).filter((node) => graph.kind[node] === FEATURE);
  return h("section.subgraph", { key: "subgraph" },
    h("h2", {}, "Subgraph ", scoresLine(context, graph, features), h("button.small", { onclick: () => go({ pin: [], group: [] }) }, "clear")),
    standing(context, "subgraph"),
    h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Subgraph" }, picture(context, graph, parts, ties, notes)),
    h("ul.plain.groups", {}, groups.map((group, i) => groupLine(context, graph, group, i))));
}

/** Its scores: bounds from the stored edges; exact ones of the whole graph once the live model was asked, and then after each change. */
function scoresLine(context, graph, features) {
  const { replacement, completeness } = scoresOf(graph, features);
  const nodes = features.map((node) => graph.names[node]).sort();
  const { answer, body, since } = known(context, "subgraph");
  const exact = () => ask(context, "subgraph", "subgraph", { key: graph.prompt.key, nodes });
  const isOf = body?.key === graph.prompt?.key && body?.nodes.join() === nodes.join();
  if (answer && !isOf && !since) queueMicrotask(exact);
  if (answer && isOf) return h("small", { title: "Of the whole graph, traced again by the live model, as `circuit-sweep show --nodes` has it" }, `replacement ${share(answer.replacement)} · completeness ${share(answer.completeness)} · every other feature counted as error, in the whole graph `);
  return h("small", { title: "From the stored edges alone. In the whole graph, features that are left out may cancel each other, which makes both scores larger." },
    `replacement ≥ ${share(replacement)} · completeness ≥ ${share(completeness)} · from the stored edges, every other feature counted as error `,
    !graph.typed && hasModel(context) ? h("button.small", { onclick: exact }, "exact, by the model") : null);
}

/** Boxes in lines by layer, in a line by position: where the eye expects them from the drawing above. */
function placed(graph, parts) {
  const mean = (part, of) => part.nodes.reduce((sum, node) => sum + of(node), 0) / part.nodes.length;
  const layer = (node) => (graph.kind[node] === TARGET ? graph.layerCount : graph.kind[node] === 2 ? -1 : graph.layer[node]);
  const boxes = parts.map((part, index) => ({ ...part, index, layer: mean(part, layer), position: mean(part, (node) => graph.position[node]) }));
  const lines = [...new Set(boxes.map((box) => Math.round(box.layer)))].sort((a, b) => b - a);
  for (const [line, at] of lines.entries()) {
    const members = boxes.filter((box) => Math.round(box.layer) === at).sort((a, b) => a.position - b.position || a.index - b.index);
    for (const [rank, box] of members.entries()) Object.assign(box, { x: 10 + rank * (BOX.width + 26), y: 8 + line * LINE });
  }
  const widest = Math.max(...boxes.map((box) => box.x)) + BOX.width + 10;
  for (const at of lines) {
    const members = boxes.filter((box) => Math.round(box.layer) === at);
    const shift = (widest - Math.max(...members.map((box) => box.x)) - BOX.width - 10) / 2;
    for (const box of members) box.x += shift;
  }
  return { boxes, width: widest, height: 8 + lines.length * LINE - (LINE - BOX.height) + 8 };
}

function picture({ go }, graph, parts, ties, notes) {
  const { boxes, width, height } = placed(graph, parts);
  const most = Math.max(...ties.map((tie) => Math.abs(tie.share)), 1e-9);
  const lines = ties.filter((tie) => Math.abs(tie.share) > 0.002).map((tie) => {
    const [a, b] = [boxes[tie.source], boxes[tie.target]];
    const [x0, y0, x1, y1] = [a.x + BOX.width / 2, a.y, b.x + BOX.width / 2, b.y + BOX.height];
    const d = `M${x0} ${y0}C${x0} ${y0 - 24} ${x1} ${y1 + 24} ${x1} ${y1}`;
    const names = `${parts[tie.source].name} → ${parts[tie.target].name}: ${signed(tie.share)} of its input`;
    return [
      h("path", { key: `${tie.source} ${tie.target}`, d, class: tie.weight < 0 ? "tie minus" : "tie plus", "stroke-width": 0.8 + (4 * Math.abs(tie.share)) / most }, h("title", {}, names)),
      Math.abs(tie.share) > 0.1 * most ? h("text.tie", { key: `t${tie.source} ${tie.target}`, x: x0 * 0.35 + x1 * 0.65 + 4, y: y0 * 0.35 + y1 * 0.65 }, signed(tie.share)) : null,
    ];
  });
  const shapes = boxes.map((box) => h("g", { key: box.name, class: "box", onclick: () => go({ sel: [graph.names[box.nodes[0]]] }) },
    h("rect", { x: box.x, y: box.y, width: BOX.width, height: BOX.height, rx: box.isGroup ? 10 : 4, class: box.isGroup ? "group" : "" }),
    h("text", { x: box.x + BOX.width / 2, y: box.y + (box.isGroup ? 15 : 21), "text-anchor": "middle" }, clip(box.isGroup ? box.name : labelOf(graph, box.nodes[0], notes), 19)),
    box.isGroup ? h("text.soft", { x: box.x + BOX.width / 2, y: box.y + 28, "text-anchor": "middle" }, `${box.nodes.length} nodes`) : null));
  return h("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Subgraph of ${parts.length} parts` }, lines, shapes);
}

function groupLine(context, graph, group, index) {
  const { state, go } = context;
  const rename = (event) => {
    const name = event.target.value.trim() || "group";
    go({ group: state.group.map((one, i) => (i === index ? `${name}:${group.members.join("+")}` : one)) });
  };
  return h("li", { key: index },
    h("input", { value: group.name, "aria-label": "Name of the group", onchange: rename }),
    h("span.soft", {}, ` ${group.members.join(", ")} `),
    "run" in state ? h("button.small", { title: "What if all of them were off?", onclick: () => go({ do: nodesOf(graph, group).map((node) => `${graph.names[node]}*0`) }) }, "what if off?") : null,
    h("button.small", { title: "u", onclick: () => go({ group: state.group.filter((_, i) => i !== index) }) }, "ungroup"),
    h("button.small", { title: "Keep it as a note: it then shows on every prompt, in circuits and in SQL", onclick: () => keepGroup(context, group) }, "keep everywhere"));
}
