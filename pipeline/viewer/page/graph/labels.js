// Labels of nodes: greedy, the most influential first, none over another nor over a node that is shown.

const HEIGHT = 12;
const GAP = 3;
const GRID = 64;

/**
 * Place labels at a zoom.
 *
 * @param marks as `marksOf` gives them
 * @param textOf (node) => text
 * @param widthOf (text) => pixels
 * @param k zoom
 * @param first nodes that come before all others (selected, hovered, pinned)
 * @returns [{node, text, x, y, width}], x and y the middle of the text's base, in pixels at zoom k
 */
export function placeLabels(marks, { textOf, widthOf, k, first = new Set(), priority, cellOf, mostInCell = 3 }) {
  const taken = new Boxes();
  const size = Math.min(1.4, Math.max(0.7, Math.sqrt(k)));
  for (const mark of marks) {
    const r = mark.r * size;
    taken.add({ x0: mark.x * k - r, x1: mark.x * k + r, y0: mark.y * k - r, y1: mark.y * k + r });
  }
  const placed = [];
  const inCell = new Map();
  const ordered = [...marks].sort((a, b) => first.has(b.node) - first.has(a.node) || priority(b.node) - priority(a.node) || a.node - b.node);
  for (const mark of ordered) {
    const cell = cellOf(mark.node);
    const count = inCell.get(cell) ?? 0;
    if (count >= mostInCell && !first.has(mark.node)) continue;
    const text = textOf(mark.node);
    const width = widthOf(text);
    const box = freePlace(mark, width, k, size, taken);
    if (!box) continue;
    taken.add(box);
    inCell.set(cell, count + 1);
    placed.push({ node: mark.node, text, width, x: (box.x0 + box.x1) / 2, y: box.y1 - GAP });
  }
  return placed;
}

/** Above the node, else below it. */
function freePlace(mark, width, k, size, taken) {
  const [x, y, r] = [mark.x * k, mark.y * k, mark.r * size];
  for (const top of [y - r - HEIGHT - 1, y + r + 1]) {
    const box = { x0: x - width / 2 - 2, x1: x + width / 2 + 2, y0: top, y1: top + HEIGHT };
    if (!taken.meets(box)) return box;
  }
  return null;
}

/** Boxes that can be asked if one more fits between them. */
class Boxes {
  constructor() {
    this.cells = new Map();
  }

  *keys(box) {
    for (let x = Math.floor(box.x0 / GRID); x <= Math.floor(box.x1 / GRID); x++) {
      for (let y = Math.floor(box.y0 / GRID); y <= Math.floor(box.y1 / GRID); y++) yield x * 65536 + y;
    }
  }

  add(box) {
    for (const key of this.keys(box)) {
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(box);
    }
  }

  meets(box) {
    for (const key of this.keys(box)) {
      for (const other of this.cells.get(key) ?? []) {
        if (box.x0 < other.x1 && box.x1 > other.x0 && box.y0 < other.y1 && box.y1 > other.y0) return true;
      }
    }
    return false;
  }
}
