// Small bars: histograms, shares, signed shares. All are pictures of numbers that stand beside them as text.

import { h } from "viewer/elements.js";
import { count } from "viewer/parts/text.js";

/** A histogram of bins over [from, to]; a click on a bar names its bounds. */
export function histogram(bins, { from = 0, to = 1, width = 120, height = 28, label, onPick, marks = [] } = {}) {
  const most = Math.max(1, ...bins);
  const each = width / bins.length;
  const bound = (bin) => from + ((to - from) * bin) / bins.length;
  const bars = bins.map((value, bin) =>
    h("rect", {
      key: bin, x: bin * each + 0.5, width: Math.max(1, each - 1),
      y: height - barHeight(value, most, height), height: barHeight(value, most, height),
      class: onPick && value ? "bar can-pick" : "bar",
      onclick: onPick && value ? () => onPick(bound(bin), bound(bin + 1)) : null,
    }, h("title", {}, `${bound(bin).toPrecision(3)} to ${bound(bin + 1).toPrecision(3)}: ${count(value)}`)));
  return h("svg.histogram", { viewBox: `0 0 ${width} ${height + 1}`, width, height: height + 1, role: "img", "aria-label": label },
    h("path", { d: `M0 ${height + 0.5}H${width}`, class: "axis" }),
    bars,
    marks.map((mark) => h("path", { d: `M${((mark - from) / (to - from)) * width} 0V${height}`, class: "mark" })));
}

// Root heights: a bin of one prompt is seen beside one of a hundred.
const barHeight = (value, most, height) => (value ? Math.max(1.5, Math.sqrt(value / most) * height) : 0);

/** A bar from the middle: right and warm for plus, left and cool for minus. */
export function signedBar(value, most = 1, width = 72) {
  const half = width / 2;
  const long = Math.min(1, Math.abs(value) / (most || 1)) * half;
  return h("svg.signed", { viewBox: `0 0 ${width} 12`, width, height: 12, "aria-hidden": "true" },
    h("path", { d: `M${half} 0V12`, class: "axis" }),
    h("rect", { x: value < 0 ? half - long : half, y: 2, width: long, height: 8, class: value < 0 ? "minus" : "plus" }));
}

/** A bar of a share. */
export function shareBar(value, width = 64) {
  return h("svg.share", { viewBox: `0 0 ${width} 8`, width, height: 8, "aria-hidden": "true" },
    h("rect", { width, height: 8, class: "whole", rx: 4 }),
    h("rect", { width: Math.max(0, Math.min(1, value || 0)) * width, height: 8, class: "held", rx: 4 }));
}
