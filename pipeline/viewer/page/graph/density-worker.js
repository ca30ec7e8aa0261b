// The picture of the many weak edges, made off the page's thread at half scale: every curve adds a little ink along
// its way, and ink becomes opacity. Without imports, since the exported file starts this from its own text.

let curves = new Float32Array(0);
let score = new Float32Array(0);

self.onmessage = async ({ data }) => {
  if (data.curves) ({ curves, score } = data);
  if (!data.view) return;
  const { edges, view, width, height, ink, id } = data;
  const pixels = picture(edges, view, width, height, ink);
  const bitmap = await createImageBitmap(new ImageData(pixels, width, height));
  self.postMessage({ id, bitmap, view }, [bitmap]);
};

function picture(edges, { k, x, y }, width, height, [red, green, blue, most]) {
  const sum = new Float32Array(width * height);
  const strongest = edges.length ? score[edges[0]] : 1;
  for (const edge of edges) trace(sum, edge * 8, k, x, y, width, height, 0.25 + Math.sqrt(score[edge] / (strongest || 1)));
  const pixels = new Uint8ClampedArray(width * height * 4);
  let [inked, whole] = [0, 0];
  for (const value of sum) if (value) [inked, whole] = [inked + 1, whole + value];
  // Saturates, more slowly the fuller the picture: bundles stay shades, and a single edge is still seen.
  const per = Math.min(0.16, (0.5 * inked) / (whole || 1));
  for (let pixel = 0; pixel < sum.length; pixel++) {
    if (!sum[pixel]) continue;
    pixels[pixel * 4] = red;
    pixels[pixel * 4 + 1] = green;
    pixels[pixel * 4 + 2] = blue;
    pixels[pixel * 4 + 3] = 255 * most * (1 - Math.exp(-per * sum[pixel]));
  }
  return pixels;
}

/** Add one curve's ink: forward differences of the cubic, one step about a pixel and a half. */
function trace(sum, at, k, x, y, width, height, ink) {
  const x0 = curves[at] * k + x;
  const y0 = curves[at + 1] * k + y;
  const x1 = curves[at + 2] * k + x;
  const y1 = curves[at + 3] * k + y;
  const x2 = curves[at + 4] * k + x;
  const y2 = curves[at + 5] * k + y;
  const x3 = curves[at + 6] * k + x;
  const y3 = curves[at + 7] * k + y;
  if (Math.max(x0, x1, x2, x3) < 0 || Math.min(x0, x1, x2, x3) > width) return;
  if (Math.max(y0, y1, y2, y3) < 0 || Math.min(y0, y1, y2, y3) > height) return;
  const length = Math.abs(x1 - x0) + Math.abs(x2 - x1) + Math.abs(x3 - x2) + Math.abs(y3 - y0);
  const steps = Math.min(400, Math.max(4, Math.ceil(length / 1.5)));
  const t = 1 / steps;
  const ax = x3 - 3 * x2 + 3 * x1 - x0;
  const bx = 3 * (x2 - 2 * x1 + x0);
  const cx = 3 * (x1 - x0);
  const ay = y3 - 3 * y2 + 3 * y1 - y0;
  const by = 3 * (y2 - 2 * y1 + y0);
  const cy = 3 * (y1 - y0);
  let [px, py] = [x0, y0];
  let [dx, dy] = [ax * t * t * t + bx * t * t + cx * t, ay * t * t * t + by * t * t + cy * t];
  let [ddx, ddy] = [6 * ax * t * t * t + 2 * bx * t * t, 6 * ay * t * t * t + 2 * by * t * t];
  const [dddx, dddy] = [6 * ax * t * t * t, 6 * ay * t * t * t];
  for (let step = 0; step <= steps; step++) {
    const [column, row] = [px | 0, py | 0];
    if (px >= 0 && py >= 0 && column < width && row < height) sum[row * width + column] += ink;
    px += dx;
    py += dy;
    dx += ddx;
    dy += ddy;
    ddx += dddx;
    ddy += dddy;
  }
}
