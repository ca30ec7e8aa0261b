// Drawing a scene on a canvas. Each function is pure but for the context it draws on.

import { mix } from "viewer/graph/look.js";
import { penOf } from "viewer/graph/scene.js";

export const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const NODE_SIZE = (k) => Math.min(1.4, Math.max(0.7, Math.sqrt(k)));

/** Bands of layers, their names, and the tokens below their columns. */
export function drawFrame(ctx, { layout, tokens, colors, view, width, height, gutter }) {
  const { k, x, y } = view;
  for (const row of layout.rows) {
    const top = row.y * k + y;
    if (row.row % 2) {
      ctx.fillStyle = colors.band;
      ctx.fillRect(0, top, width, row.height * k);
    }
  }
  ctx.font = FONT;
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  const bottom = layout.height * k + y + 4;
  let right = -Infinity;
  for (const column of layout.columns) {
    const middle = column.center * k + x;
    // Thousands of columns a few pixels wide cost nothing.
    if (middle < gutter || middle > width + 100 || column.width * k < 14 || middle < right + 8) continue;
    const text = fitted(ctx, tokens[column.position] ?? "", column.width * k - 4);
    if (!text) continue;
    const half = ctx.measureText(text).width / 2;
    if (middle - half < right + 4) continue;
    right = middle + half;
    ctx.fillStyle = column.isTick ? colors.faint : colors.ink;
    ctx.fillText(text, middle, Math.min(bottom, height - 16));
  }
}

/** Names of the rows, over everything else at the left edge. */
export function drawRowNames(ctx, { layout, colors, view, height, gutter }) {
  ctx.font = FONT;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.globalAlpha = 0.86;
  ctx.fillStyle = colors.ground;
  ctx.fillRect(0, 0, gutter, height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = colors.soft;
  let below = Infinity;
  for (const row of layout.rows) {
    const middle = row.center * view.k + view.y;
    if (middle > below - 12) continue;
    below = middle;
    ctx.fillText(row.label, gutter - 6, middle);
  }
}

/** At most `most` strokes, the strongest; while panning that is few. */
export function drawStrokes(ctx, { curves, strokes, colors, view, most }) {
  const { k, x, y } = view;
  ctx.save();
  ctx.lineCap = "round";
  let left = most;
  // Strongest styles first in the count, weakest first on the canvas.
  const chosen = [];
  for (let index = strokes.styles.length - 1; index >= 0 && left > 0; index--) {
    const style = strokes.styles[index];
    chosen.push([style, style.edges.slice(0, left)]);
    left -= style.edges.length;
  }
  for (const [style, edges] of chosen.reverse()) {
    const pen = penOf(style, strokes.isFocused);
    ctx.globalAlpha = pen.alpha;
    ctx.lineWidth = pen.width * Math.min(1.5, Math.max(0.75, k));
    ctx.strokeStyle = style.isNegative ? colors.negative : style.isRaised || !strokes.isFocused ? colors.positive : colors.weak;
    ctx.setLineDash(pen.dash);
    ctx.beginPath();
    for (const edge of edges) {
      const at = edge * 8;
      ctx.moveTo(curves[at] * k + x, curves[at + 1] * k + y);
      ctx.bezierCurveTo(
        curves[at + 2] * k + x, curves[at + 3] * k + y,
        curves[at + 4] * k + x, curves[at + 5] * k + y,
        curves[at + 6] * k + x, curves[at + 7] * k + y,
      );
    }
    ctx.stroke();
  }
  ctx.restore();
}

/** Nodes, which come sorted by style: those of one fill make one path, so that thousands take few calls. */
export function drawMarks(ctx, { marks, colors, view, width, height, hovered = -1 }) {
  const { k, x, y } = view;
  const size = NODE_SIZE(k);
  ctx.lineWidth = 1.1;
  ctx.strokeStyle = colors.ink;
  for (let first = 0; first < marks.length; ) {
    const { shade, isDim } = marks[first];
    ctx.globalAlpha = isDim ? 0.3 : 1;
    ctx.fillStyle = fillOf(shade, colors);
    ctx.beginPath();
    let next = first;
    for (; next < marks.length && marks[next].shade === shade && marks[next].isDim === isDim; next++) {
      const mark = marks[next];
      const left = mark.x * k + x;
      const top = mark.y * k + y;
      if (left < -20 || top < -20 || left > width + 20 || top > height + 20) continue;
      outline(ctx, mark.shape, left, top, mark.r * size);
    }
    ctx.fill();
    ctx.stroke();
    first = next;
  }
  ctx.globalAlpha = 1;
  for (const mark of marks) {
    if (!mark.isPinned && !mark.isSelected && mark.node !== hovered && mark.shade !== HALF && mark.shade >= 0) continue;
    const [left, top, r] = [mark.x * k + x, mark.y * k + y, mark.r * size];
    if (mark.shade < 0) minus(ctx, left, top, r, mark, colors);
    if (mark.shade === HALF) half(ctx, left, top, r, colors.positive, mark.isDim ? 0.3 : 1);
    if (mark.isPinned) ring(ctx, left, top, r + 3, colors.accent, 1.6);
    if (mark.isSelected) ring(ctx, left, top, r + 5, colors.accent, 2.6);
    else if (mark.node === hovered) ring(ctx, left, top, r + 4, colors.soft, 1.4);
  }
}

/** What is negative carries a minus, for whoever does not see its colour. */
function minus(ctx, x, y, r, mark, colors) {
  ctx.globalAlpha = mark.isDim ? 0.3 : 1;
  ctx.strokeStyle = minusOf(mark.shade, colors);
  ctx.lineWidth = Math.max(1, r * 0.3);
  ctx.beginPath();
  ctx.moveTo(x - r * 0.5, y);
  ctx.lineTo(x + r * 0.5, y);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

export const minusOf = (shade, colors) => (shade < -0.5 ? colors.node : colors.ink);

export const GREY = 2;
export const HALF = 3;

export function fillOf(shade, colors) {
  if (shade === 0 || shade === HALF) return colors.node;
  if (shade === GREY) return colors.faint;
  return mix(colors.node, shade > 0 ? colors.positive : colors.negative, 0.12 + 0.88 * Math.abs(shade));
}

/** Circle for a feature, diamond for an error, square for a token, triangle for a target. */
function outline(ctx, shape, x, y, r) {
  if (shape === 0) {
    ctx.moveTo(x + r, y);
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    return;
  }
  const corners = cornersOf(shape, x, y, r);
  ctx.moveTo(...corners[0]);
  for (const corner of corners.slice(1)) ctx.lineTo(...corner);
  ctx.closePath();
}

export function cornersOf(shape, x, y, r) {
  if (shape === 1) return [[x, y - r * 1.25], [x + r * 1.25, y], [x, y + r * 1.25], [x - r * 1.25, y]];
  if (shape === 2) return [[x - r, y - r], [x + r, y - r], [x + r, y + r], [x - r, y + r]];
  return [[x, y - r * 1.2], [x + r * 1.15, y + r * 0.85], [x - r * 1.15, y + r * 0.85]];
}

function half(ctx, x, y, r, color, alpha) {
  ctx.globalAlpha = alpha;
  ctx.fillStyle = color;
  ctx.beginPath();
  ctx.arc(x, y, r, -Math.PI / 2, Math.PI / 2);
  ctx.fill();
  ctx.globalAlpha = 1;
}

function ring(ctx, x, y, r, color, width) {
  ctx.save();
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.stroke();
  ctx.restore();
}

/** Labels, with a rim of the ground's colour so that they read over edges; and the `+n` of full cells. */
export function drawLabels(ctx, { labels, layout, colors, view, labelsK, width, height }) {
  ctx.font = FONT;
  ctx.textAlign = "center";
  ctx.lineJoin = "round";
  ctx.strokeStyle = colors.ground;
  ctx.lineWidth = 3;
  ctx.textBaseline = "alphabetic";
  for (const label of labels) {
    // A label keeps its distance in pixels from its node while the zoom changes under it.
    const left = (label.x / labelsK) * view.k + view.x;
    const top = (label.y / labelsK) * view.k + view.y;
    if (left < -60 || top < -20 || left > width + 60 || top > height + 20) continue;
    ctx.fillStyle = label.isDim ? colors.faint : colors.ink;
    ctx.strokeText(label.text, left, top);
    ctx.fillText(label.text, left, top);
  }
  ctx.textBaseline = "middle";
  for (const more of layout.more) {
    const text = `+${more.nodes.length}`;
    const [left, top] = [more.x * view.k + view.x, more.y * view.k + view.y];
    if (left < -60 || left > width + 60) continue;
    ctx.fillStyle = colors["accent-soft"];
    ctx.beginPath();
    ctx.roundRect(left - 14, top - 8, 28, 16, 8);
    ctx.fill();
    ctx.fillStyle = colors.accent;
    ctx.fillText(text, left, top + 0.5);
  }
}

/** The text, or as much of it as fits with an ellipsis; empty where not even that does. */
export function fitted(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  const part = width / ctx.measureText(text.slice(0, 24)).width;
  let shown = text.slice(0, Math.max(1, Math.floor(24 * Math.min(1, part)) + 1));
  while (shown.length > 1 && ctx.measureText(`${shown}…`).width > width) shown = shown.slice(0, -1);
  return shown.length > 1 ? `${shown}…` : "";
}
