// The graph on the page: a canvas that pans and zooms. It shows the scene it is given and says what was pointed at;
// the state is the page's. While it moves, few strokes are drawn and the density picture is moved with them; when it
// rests, all of both are made anew.

import { Density } from "viewer/graph/density.js";
import { drawFrame, drawLabels, drawMarks, drawRowNames, drawStrokes, FONT } from "viewer/graph/draw.js";
import { listen } from "viewer/graph/gestures.js";
import { placeLabels } from "viewer/graph/labels.js";
import { openingSpan } from "viewer/graph/layout.js";
import { drawMinimap, MINIMAP } from "viewer/graph/minimap.js";
import { MOST_STROKES, strokesOf } from "viewer/graph/scene.js";

export const GUTTER = 56;
const BELOW = 30; // room for the tokens
const WHILE_MOVING = 300;
const REST = 150; // milliseconds

export class GraphView {
  /** `tell` has select(node, isAdded), selectMany(nodes), edge(index), open(cell), hover(node), moved(box). */
  constructor(host, tell) {
    this.host = host;
    this.tell = tell;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    host.append(this.canvas);
    this.view = { k: 1, x: 0, y: 0 };
    this.hovered = -1;
    this.isMoving = false;
    this.labels = [];
    this.labelsK = 1;
    this.widths = new Map();
    this.density = new Density(() => this.draw());
    this.stopListening = listen(this);
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(host);
  }

  close() {
    this.resizing.disconnect();
    this.stopListening();
    this.density.close();
    clearTimeout(this.resting);
    this.isClosed = true;
  }

  /** Show a scene: {graph, layout, curves, shown, marks, notes, colors, selected, edge, textOf, label, box}. */
  show(scene) {
    const isNewLayout = scene.layout !== this.scene?.layout;
    const isNewGraph = scene.graph !== this.scene?.graph;
    this.scene = scene;
    this.canvas.setAttribute("aria-label", scene.label);
    if (isNewLayout) this.density.setCurves(scene.curves, scene.graph.score);
    if (isNewGraph) this.hovered = -1;
    if (!this.width) return;
    if (isNewGraph || (isNewLayout && !this.hasMoved) || this.isReset(scene.box)) this.place(scene.box);
    this.settle();
  }

  isReset(box) {
    const spelt = box.join();
    const changed = spelt !== (this.box ?? "") && spelt !== this.told;
    this.box = spelt;
    return changed;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height || (width === this.width && height === this.height)) return;
    const isFirst = !this.width;
    [this.width, this.height, this.dpr] = [width, height, window.devicePixelRatio || 1];
    [this.canvas.width, this.canvas.height] = [Math.round(width * this.dpr), Math.round(height * this.dpr)];
    if (!this.scene) return;
    if (isFirst || !this.hasMoved) this.place(this.scene.box);
    this.settle();
  }

  /** Go where a permalink says ([x, y, k] of the middle), or show everything. */
  place(box) {
    this.box = box.join();
    if (box.length === 3 && box.every((value) => Number.isFinite(Number(value)))) {
      const [x, y, k] = box.map(Number);
      this.view = { k, x: this.width / 2 - x * k, y: this.height / 2 - y * k };
      this.hasMoved = true;
    } else this.fit();
  }

  fit() {
    const { graph, layout } = this.scene;
    const span = openingSpan(graph, layout);
    const below = BELOW + (graph.positions > 60 ? MINIMAP : 0);
    const room = { width: this.width - GUTTER - 16, height: this.height - below - 14 };
    const k = Math.min(1.5, Math.max(0.02, Math.min(room.width / span.width, room.height / layout.height)));
    this.view = {
      k,
      x: GUTTER + (room.width - span.width * k) / 2 - span.x * k + 4,
      y: Math.max(8, (room.height - layout.height * k) / 2 + 8),
    };
    this.hasMoved = false;
  }

  /** Zoom by a factor, a point of the canvas staying where it is. */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const k = Math.min(8, Math.max(0.02, this.view.k * factor));
    const part = k / this.view.k;
    this.view = { k, x: x - (x - this.view.x) * part, y: y - (y - this.view.y) * part };
    this.move();
  }

  panBy(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.move();
  }

  /** Bring a node into sight. */
  reveal(node) {
    const { layout } = this.scene;
    const x = layout.x[node] * this.view.k + this.view.x;
    const y = layout.y[node] * this.view.k + this.view.y;
    const isSeen = x > GUTTER + 10 && x < this.width - 10 && y > 10 && y < this.height - BELOW;
    if (!isSeen) this.panBy(this.width / 2 - x, this.height / 2 - y);
  }

  move() {
    this.hasMoved = true;
    this.isMoving = true;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.isMoving = false;
      this.settle();
      this.told = this.boxNow().join();
      this.tell.moved?.(this.boxNow());
    }, REST);
    this.draw();
  }

  boxNow() {
    const { k, x, y } = this.view;
    return [((this.width / 2 - x) / k).toFixed(0), ((this.height / 2 - y) / k).toFixed(0), k.toFixed(3)];
  }

  windowNow() {
    const { k, x, y } = this.view;
    return { x0: -x / k, y0: -y / k, x1: (this.width - x) / k, y1: (this.height - y) / k };
  }

  /** Choose strokes and labels for where the view now stands, and have the density made. */
  settle() {
    if (this.isMoving || !this.scene || !this.width) return;
    const { graph, curves, shown, selected, edge } = this.scene;
    this.strokes = strokesOf(graph, curves, shown, this.windowNow(), { selected, hovered: this.hovered, edge });
    this.placeLabels();
    this.density.ask(this.strokes.rest, this.view, this.width, this.height, this.scene.colors);
    this.draw();
  }

  placeLabels() {
    const { graph, layout, marks, selected, textOf } = this.scene;
    const window = this.windowNow();
    const inSight = marks.filter((m) => m.x > window.x0 && m.x < window.x1 && m.y > window.y0 && m.y < window.y1 && (m.shape !== 2 || graph.nodeLabels));
    const first = new Set(inSight.filter((m) => m.isPinned || m.node === selected || m.node === this.hovered).map((m) => m.node));
    this.labelsK = this.view.k;
    this.labels = placeLabels(inSight, {
      textOf,
      widthOf: (text) => this.widthOf(text),
      k: this.view.k,
      first,
      priority: (node) => (graph.kind[node] === 3 ? 1e6 + (graph.activation[node] || 0) : graph.influence[node]),
      cellOf: (node) => `${graph.kind[node] === 3 ? "y" : graph.layer[node]}@${graph.position[node]}`,
      mostInCell: this.view.k > 1.6 ? Infinity : graph.count > 400 ? 3 : 12,
    });
    const dim = new Set(marks.filter((mark) => mark.isDim).map((mark) => mark.node));
    for (const label of this.labels) label.isDim = dim.has(label.node);
  }

  widthOf(text) {
    if (!this.widths.has(text)) {
      const ctx = this.canvas.getContext("2d");
      ctx.font = FONT;
      this.widths.set(text, ctx.measureText(text).width);
    }
    return this.widths.get(text);
  }

  hover(node) {
    if (node === this.hovered) return;
    this.hovered = node;
    this.tell.hover?.(node);
    this.settle();
  }

  /** Draw at the next frame, once. */
  draw() {
    if (this.asked || this.isClosed) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (!this.isClosed && this.scene && this.strokes) this.frame();
    });
  }

  frame() {
    const ctx = this.canvas.getContext("2d");
    ctx.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    this.paint(ctx, this.scene.colors, this.isMoving ? WHILE_MOVING : MOST_STROKES);
    if (this.lasso) this.drawLasso(ctx);
  }

  paint(ctx, colors, most) {
    const { layout, curves, marks, graph } = this.scene;
    const { width, height, view, strokes } = this;
    const tokens = this.scene.tokens;
    ctx.fillStyle = colors.ground;
    ctx.fillRect(0, 0, width, height);
    const below = graph.positions > 60 ? MINIMAP : 0;
    drawFrame(ctx, { layout, tokens, colors, view, width, height: height - below, gutter: GUTTER });
    this.density.draw(ctx, view, strokes.isFocused ? 0.25 : 1);
    drawStrokes(ctx, { curves, strokes, colors, view, most });
    drawMarks(ctx, { marks, colors, view, width, height, hovered: this.hovered });
    drawLabels(ctx, { labels: this.labels, layout, colors, view, labelsK: this.labelsK, width, height });
    drawRowNames(ctx, { layout, colors, view, height, gutter: GUTTER });
    if (below) drawMinimap(ctx, { graph, layout, colors, window: this.windowNow(), width, height });
  }

  drawLasso(ctx) {
    const { x0, y0, x1, y1 } = this.lasso;
    ctx.strokeStyle = this.scene.colors.accent;
    ctx.setLineDash([4, 3]);
    ctx.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    ctx.setLineDash([]);
  }
}
