// Parts of tables: headings, and rows of which the first are shown until somebody wants all.

import { h } from "viewer/elements.js";
import { count } from "viewer/parts/text.js";

/** A row of headings; those that begin with `#` stand over numbers. */
export const heads = (...names) =>
  h("thead", {}, h("tr", {}, names.map((name, i) => h("th", { key: i, scope: "col", class: name.startsWith("#") ? "number" : "" }, name.replace(/^#/, "") || h("span.visually-hidden", {}, "name")))));

/** The rows of a list that are shown, and the button that shows all. */
export function firstOf({ local, draw }, name, rows, most) {
  const all = (local.whole ??= new Set());
  const show = () => {
    all.add(name);
    draw();
  };
  return all.has(name) || rows.length <= most ? [rows, null] : [rows.slice(0, most), h("button.small", { key: `all ${name}`, onclick: show }, `all ${count(rows.length)}`)];
}
