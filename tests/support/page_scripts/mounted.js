// A generated graph in a view, without the page around it.

import { curvesOf } from "viewer/graph/edges.js";
import { graphOf } from "viewer/graph/graph.js";
import { layoutOf } from "viewer/graph/layout.js";
import { LIGHT } from "viewer/graph/look.js";
import { labelOf, marksOf, paintOf } from "viewer/graph/scene.js";
import { shownOf } from "viewer/graph/shown.js";
import { GraphView } from "viewer/graph/view.js";
import { generatedGraph } from "/scripts/generated.js";

/** Show a generated graph; `show` shows it again with other sliders. */
export function mounted(options) {
  const host = document.getElementById("host");
  host.replaceChildren();
  host.style.overflow = "hidden";
  const graph = graphOf(generatedGraph(options));
  const layout = layoutOf(graph, options);
  const curves = curvesOf(graph, layout);
  const told = [];
  const tell = Object.fromEntries(
    ["select", "selectMany", "edge", "open", "hover", "moved"].map((name) => [name, (...what) => told.push([name, ...what])]),
  );
  const view = new GraphView(host, tell);
  view.canvas.style.cssText = "width: 100%; height: 100%; display: block";
  const show = (sliders = {}, selected = -1) => {
    const shown = shownOf(graph, sliders);
    view.show({
      graph, layout, curves, shown, selected, edge: -1, box: [], colors: LIGHT, label: "made",
      marks: marksOf(graph, layout, shown, { selected, paint: paintOf(graph, "influence") }),
      tokens: graph.prompt.tokens,
      textOf: (node) => labelOf(graph, node),
    });
    return shown;
  };
  view.resize();
  show();
  return { graph, layout, curves, view, show, told };
}

/** Wait until nothing moves, the density picture is there, and it is drawn. */
export async function rested(view) {
  do await new Promise((resolve) => setTimeout(resolve, 30));
  while (view.isMoving || view.density.isBusy || view.asked);
}

/** Hash of what the canvas shows. */
export async function pixels(view) {
  const ctx = view.canvas.getContext("2d");
  const { data } = ctx.getImageData(0, 0, view.canvas.width, view.canvas.height);
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (Math.imul(sum, 31) + data[i]) | 0;
  return String(sum);
}
