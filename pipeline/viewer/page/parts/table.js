// Headings of tables.

import { h } from "viewer/elements.js";

/** A row of headings; those that begin with `#` stand over numbers. */
export const heads = (...names) =>
  h("thead", {}, h("tr", {}, names.map((name, i) => h("th", { key: i, scope: "col", class: name.startsWith("#") ? "number" : "" }, name.replace(/^#/, "") || h("span.visually-hidden", {}, "name")))));
