// A dose curve: the answer's probability over the strength of a change.

import { h } from "viewer/elements.js";
import { share } from "viewer/parts/text.js";

const SIZE = { width: 330, height: 120, left: 34, bottom: 20 };

export function doseCurve({ strengths = [], tokens = [] }) {
  const [low, high] = [Math.min(...strengths), Math.max(...strengths)];
  const x = (value) => SIZE.left + ((value - low) / (high - low || 1)) * (SIZE.width - SIZE.left - 8);
  const y = (value) => 8 + (1 - value) * (SIZE.height - SIZE.bottom - 8);
  const dashes = ["", "6 3", "2 3", "8 3 2 3"];
  const lines = tokens.slice(0, 4).map((token, i) => [
    h("path", { key: `l${i}`, d: token.probabilities.map((p, j) => `${j ? "L" : "M"}${x(strengths[j]).toFixed(1)} ${y(p).toFixed(1)}`).join(""), fill: "none", stroke: i ? "var(--soft)" : "var(--positive)", "stroke-width": i ? 1.3 : 2.2, "stroke-dasharray": dashes[i] },
      h("title", {}, `${token.label}: ${token.probabilities.map(share).join(", ")}`)),
    h("text", { key: `t${i}`, x: SIZE.width - 8, y: y(token.probabilities.at(-1)) - 3, "text-anchor": "end", class: "tie" }, token.label),
  ]);
  const tick = (value) => h("text", { key: `x${value}`, x: x(value), y: SIZE.height - 5, "text-anchor": "middle", class: "tie" }, `×${Number(value.toPrecision(2))}`);
  return h("svg", { key: "dose", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, width: SIZE.width, height: SIZE.height, role: "img", "aria-label": "Probability of the answers over the strength of the change" },
    h("path", { d: `M${SIZE.left} ${y(1)}V${y(0)}H${SIZE.width - 8}`, fill: "none", stroke: "var(--line)" }),
    h("text", { x: SIZE.left - 5, y: y(1) + 4, "text-anchor": "end", class: "tie" }, "1"), h("text", { x: SIZE.left - 5, y: y(0) + 4, "text-anchor": "end", class: "tie" }, "0"),
    [low, 0, 1, high].filter((value, i, all) => value >= low && value <= high && all.indexOf(value) === i).map(tick), lines);
}
