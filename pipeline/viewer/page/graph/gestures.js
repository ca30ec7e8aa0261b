// Pointer, wheel and pinch on the graph's canvas, told to the view.

import { edgeAt, moreAt, nodeAt } from "viewer/graph/pick.js";
import { jumpTo, MINIMAP } from "viewer/graph/minimap.js";

const SLACK = 9; // pixels around a node that still are the node

/** Listen on a view's canvas; returns what stops it. */
export function listen(view) {
  const canvas = view.canvas;
  const pointers = new Map();
  let drag = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  const down = (event) => {
    const point = at(event);
    if (event.button !== 0) return;
    if (view.scene?.graph.positions > 60 && point.y > view.height - MINIMAP) {
      jumpTo(view, point.x);
      return;
    }
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point);
    drag = { ...point, start: point, hasMoved: false, isLasso: event.shiftKey };
  };

  const move = (event) => {
    const point = at(event);
    if (!drag) {
      view.hover(view.scene ? target(view, point).node : -1);
      canvas.style.cursor = view.hovered >= 0 ? "pointer" : "grab";
      return;
    }
    if (pointers.size === 2) pinch(view, pointers, event.pointerId, point);
    else if (Math.hypot(point.x - drag.start.x, point.y - drag.start.y) > 4 || drag.hasMoved) {
      drag.hasMoved = true;
      if (drag.isLasso) {
        view.lasso = { x0: drag.start.x, y0: drag.start.y, x1: point.x, y1: point.y };
        view.draw();
      } else view.panBy(point.x - drag.x, point.y - drag.y);
      [drag.x, drag.y] = [point.x, point.y];
    }
    pointers.set(event.pointerId, point);
  };

  const up = (event) => {
    pointers.delete(event.pointerId);
    if (!drag || pointers.size) return;
    const ended = drag;
    drag = null;
    if (view.lasso) {
      view.tell.selectMany(inside(view, view.lasso));
      view.lasso = null;
      view.draw();
    } else if (!ended.hasMoved) click(view, at(event), event.shiftKey);
  };

  const wheel = (event) => {
    event.preventDefault();
    const { x, y } = at(event);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.panBy(-(event.deltaX || event.deltaY), 0);
    else view.zoomBy(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * 0.008), x, y);
  };

  const leave = () => view.hover(-1);
  const events = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, pointerleave: leave };
  for (const [name, handler] of Object.entries(events)) canvas.addEventListener(name, handler);
  canvas.addEventListener("wheel", wheel, { passive: false });
  return () => {
    for (const [name, handler] of Object.entries(events)) canvas.removeEventListener(name, handler);
    canvas.removeEventListener("wheel", wheel);
  };
}

/** Node, `+n` or edge under a point of the canvas. */
function target(view, point) {
  const { k, x, y } = view.view;
  const [left, top] = [(point.x - x) / k, (point.y - y) / k];
  const { layout, marks, curves } = view.scene;
  const more = moreAt(layout, left, top, SLACK / k);
  const node = more ? -1 : nodeAt(marks, left, top, SLACK / k);
  return { more, node, edge: () => edgeAt(curves, view.strokes.styles, left, top, 5 / k) };
}

function click(view, point, isAdded) {
  view.canvas.focus({ preventScroll: true });
  const found = target(view, point);
  if (found.more) view.tell.open(found.more.cell);
  else if (found.node >= 0) view.tell.select(found.node, isAdded);
  else view.tell.edge(found.edge());
}

function inside(view, { x0, y0, x1, y1 }) {
  const { k, x, y } = view.view;
  const [left, right] = [(Math.min(x0, x1) - x) / k, (Math.max(x0, x1) - x) / k];
  const [top, bottom] = [(Math.min(y0, y1) - y) / k, (Math.max(y0, y1) - y) / k];
  const isIn = (mark) => mark.x >= left && mark.x <= right && mark.y >= top && mark.y <= bottom;
  return view.scene.marks.filter(isIn).map((mark) => mark.node);
}

function pinch(view, pointers, moved, point) {
  const before = pointers.get(moved);
  const [other] = [...pointers.entries()].filter(([id]) => id !== moved).map(([, one]) => one);
  const distance = (one) => Math.hypot(one.x - other.x, one.y - other.y);
  view.zoomBy(distance(point) / Math.max(1, distance(before)), (point.x + other.x) / 2, (point.y + other.y) / 2);
  view.panBy((point.x - before.x) / 2, (point.y - before.y) / 2);
}
