// A strip below a long prompt's graph: influence by position, and which part is in sight.

export const MINIMAP = 30;

export function drawMinimap(ctx, { graph, layout, colors, window, width, height }) {
  const top = height - MINIMAP;
  ctx.fillStyle = colors.paper;
  ctx.fillRect(0, top, width, MINIMAP);
  const mass = new Float64Array(graph.positions);
  for (let node = 0; node < graph.count; node++) if (graph.kind[node] <= 2) mass[graph.position[node]] += graph.influence[node];
  const most = mass.reduce((a, b) => Math.max(a, b), 0) || 1;
  const part = width / layout.width;
  ctx.fillStyle = colors.positive;
  for (const column of layout.columns) {
    const tall = Math.sqrt(mass[column.position] / most) * (MINIMAP - 6);
    ctx.fillRect(column.x * part, height - tall, Math.max(0.6, column.width * part - 0.4), tall);
  }
  ctx.strokeStyle = colors.accent;
  ctx.lineWidth = 1.5;
  ctx.strokeRect(window.x0 * part, top + 1, Math.max(4, (window.x1 - window.x0) * part), MINIMAP - 2);
}

/** Bring the part of the graph under `x` of the strip into the middle. */
export function jumpTo(view, x) {
  const left = (x / view.width) * view.scene.layout.width;
  view.panBy(view.width / 2 - (left * view.view.k + view.view.x), 0);
}
