// A picture for papers: the same scene as SVG, whose text can be selected, or as PNG at twice the size. Both carry
// the prompt, what is shown and the link. Always light.

import { cornersOf, fillOf, fitted, HALF, minusOf } from "viewer/graph/draw.js";
import { LIGHT } from "viewer/graph/look.js";
import { MOST_STROKES, penOf } from "viewer/graph/scene.js";
import { visible } from "viewer/parts/text.js";

const CAPTION = 48;

const escaped = (text) =>
  visible(String(text)).replace(/[&<>"']/g, (c) => `&#${c.codePointAt(0)};`);
const short = (value) => Number(value.toFixed(1));

/** The view as SVG text. */
export async function svgOf(view, caption) {
  const { width, height } = view;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + CAPTION}" ` +
      `viewBox="0 0 ${width} ${height + CAPTION}" font-family="system-ui, sans-serif" font-size="11">`,
    `<title>${escaped(caption[0])}</title>`,
    `<rect width="100%" height="100%" fill="${LIGHT.paper}"/>`,
    await densityImage(view),
    ...strokes(view),
    ...marks(view),
    ...texts(view),
    ...caption.map((line, i) => text(12, height + 16 + 14 * i, line, { fill: i ? LIGHT.soft : LIGHT.ink, anchor: "start" })),
    "</svg>",
  ];
  return parts.join("\n");
}

/** The view as a PNG at twice its size. */
export async function pngOf(view, caption) {
  const canvas = new OffscreenCanvas(view.width * 2, (view.height + CAPTION) * 2);
  const ctx = canvas.getContext("2d");
  ctx.scale(2, 2);
  ctx.fillStyle = LIGHT.ground;
  ctx.fillRect(0, 0, view.width, view.height + CAPTION);
  view.paint(ctx, LIGHT, MOST_STROKES);
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  for (const [i, line] of caption.entries()) {
    ctx.fillStyle = i ? LIGHT.soft : LIGHT.ink;
    ctx.fillText(fitted(ctx, visible(line), view.width - 24), 12, view.height + 14 + 14 * i);
  }
  return canvas.convertToBlob({ type: "image/png" });
}

async function densityImage(view) {
  const picture = view.density.picture;
  if (!picture) return "";
  const canvas = new OffscreenCanvas(view.width, view.height);
  view.density.draw(canvas.getContext("2d"), view.view, view.strokes.isFocused ? 0.25 : 1);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return `<image width="${view.width}" height="${view.height}" href="data:image/png;base64,${btoa(binary)}"/>`;
}

function strokes({ view, strokes: { styles, isFocused }, scene: { curves } }) {
  return styles.map((style) => {
    const pen = penOf(style, isFocused);
    const color = style.isNegative ? LIGHT.negative : style.isRaised || !isFocused ? LIGHT.positive : LIGHT.weak;
    const d = style.edges.map((edge) => {
      const at = (i) => `${short(curves[edge * 8 + i] * view.k + view.x)} ${short(curves[edge * 8 + i + 1] * view.k + view.y)}`;
      return `M${at(0)}C${at(2)} ${at(4)} ${at(6)}`;
    });
    const dash = pen.dash.length ? ` stroke-dasharray="${pen.dash.join(" ")}"` : "";
    return (
      `<path fill="none" stroke="${color}" stroke-opacity="${pen.alpha.toFixed(2)}" ` +
      `stroke-width="${pen.width.toFixed(2)}"${dash} d="${d.join("")}"/>`
    );
  });
}

function marks({ view, scene: { marks: all, graph } }) {
  const size = Math.min(1.4, Math.max(0.7, Math.sqrt(view.k)));
  return all.map((mark) => {
    const [x, y, r] = [mark.x * view.k + view.x, mark.y * view.k + view.y, mark.r * size];
    const style = `fill="${fillOf(mark.shade, LIGHT)}" stroke="${mark.isSelected || mark.isPinned ? LIGHT.accent : LIGHT.ink}"`;
    const title = `<title>${escaped(graph.names[mark.node])}</title>`;
    const half = mark.shade === HALF ? `<path d="M${short(x)} ${short(y - r)}a${short(r)} ${short(r)} 0 0 1 0 ${short(2 * r)}z" fill="${LIGHT.positive}"/>` : "";
    const sign = mark.shade < 0 ? `<path d="M${short(x - r / 2)} ${short(y)}h${short(r)}" stroke="${minusOf(mark.shade, LIGHT)}" stroke-width="${short(Math.max(1, r * 0.3))}"/>` : "";
    if (mark.shape === 0) return `<circle cx="${short(x)}" cy="${short(y)}" r="${short(r)}" ${style}>${title}</circle>${half}${sign}`;
    const points = cornersOf(mark.shape, x, y, r).map(([a, b]) => `${short(a)},${short(b)}`).join(" ");
    return `<polygon points="${points}" ${style}>${title}</polygon>${sign}`;
  });
}

function texts({ view, labels, labelsK, scene, height }) {
  const { layout, tokens } = scene;
  const at = (value, origin) => (value / labelsK) * view.k + origin;
  const bottom = Math.min(layout.height * view.k + view.y + 14, height - 6);
  return [
    ...labels.map((label) => text(at(label.x, view.x), at(label.y, view.y), label.text, { halo: true })),
    ...layout.columns
      .filter((column) => !column.isTick || layout.columns.length <= 60)
      .map((column) => text(column.center * view.k + view.x, bottom, clipped(tokens[column.position] ?? "", column.width * view.k), {})),
    ...layout.rows.filter((row) => !row.isEmpty).map((row) => text(50, row.center * view.k + view.y + 4, row.label, { fill: LIGHT.soft, anchor: "end" })),
    ...layout.more.map((more) => text(more.x * view.k + view.x, more.y * view.k + view.y + 4, `+${more.nodes.length}`, { fill: LIGHT.accent })),
  ];
}

const clipped = (label, width) => (label.length * 6 <= width + 6 ? label : `${label.slice(0, Math.max(1, Math.floor(width / 6) - 1))}…`);

function text(x, y, content, { fill = LIGHT.ink, anchor = "middle", halo = false }) {
  const rim = halo ? ` paint-order="stroke" stroke="${LIGHT.paper}" stroke-width="3"` : "";
  return `<text x="${short(x)}" y="${short(y)}" text-anchor="${anchor}" fill="${fill}"${rim}>${escaped(content)}</text>`;
}
