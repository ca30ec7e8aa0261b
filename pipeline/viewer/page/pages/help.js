// Keys, and what the drawing's signs mean.

import { h } from "viewer/elements.js";
import { EVERYWHERE } from "viewer/keys.js";
import * as graph from "viewer/pages/graph.js";
import { legend } from "viewer/pages/graph/panel.js";

export const title = () => "Help";
export const needs = () => "";
export const load = async () => ({});

export function draw({ sweep }) {
  const keys = { ...EVERYWHERE, "Ctrl-K": ["search and commands"], ...graph.keys };
  const spelt = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
  return [
    h("h1", {}, "Help"),
    h("section.card", {}, h("h2", {}, "Keys"), h("dl.keys", {}, Object.entries(keys).sort(([a], [b]) => a.length - b.length).map(([key, [name]]) =>
      h("div", { key }, h("dt", {}, h("kbd", {}, spelt[key] ?? key)), h("dd", {}, name))))),
    h("section.card", {}, h("h2", {}, "The drawing"),
      h("p.legend", {}, legend()),
      h("p", {}, "A column is a token, a row a layer; targets stand on top. A node's size is its influence on the targets over all paths, its colour what ", h("i", {}, "paint"), " says. ",
        "An edge's width is its share of the target's whole input. Weak edges are one shaded picture. A node keeps its place whatever the sliders hide, and what is hidden is counted."),
      h("p", {}, "What if: choose a feature and press x. Strengths, values or its activation on another prompt are asked of the live model; what moved is painted, beside what the edges predict. ",
        "Effect of every kept node ablates each by itself."),
      h("p", {}, "Shift-click or shift-drag selects several nodes. The wheel zooms, dragging moves. Everything on a page is in its address: copy it, and somebody else sees the same.")),
    h("p.soft", {}, `Engine ${sweep?.engine_version ?? "–"} · ${sweep?.url ?? ""}`),
  ];
}
