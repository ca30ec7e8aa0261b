// Features over all prompts, by influence, prompts or label.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { shareBar } from "viewer/parts/histogram.js";
import { clip, count, number } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = () => "Features";
export const needs = ({ sort, q }) => [sort, q];
export const load = ({ sort, q }, { signal }) => api.get("/api/features", { sort, q }, signal);

export function draw({ state, data, go }) {
  const rows = data.rows;
  const most = Math.max(1e-9, ...rows.map((row) => row.influence));
  const ask = (event) => {
    event.preventDefault();
    go({ q: new FormData(event.target).get("q") });
  };
  const head = (name, text, kind = "") => h("th", { key: name, scope: "col", class: kind, "aria-sort": state.sort === name ? "descending" : null }, h("button.sort", { onclick: () => go({ sort: name }) }, text, state.sort === name ? " ↓" : ""));
  return [
    h("h1", {}, "Features"),
    h("form.query", { onsubmit: ask }, h("input", { name: "q", type: "search", value: state.q, "aria-label": "Filter by label or number", placeholder: "label, or 2/35" }), h("button", {}, "Filter")),
    h("div.scroll.card", {}, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "feature"), head("label", "label"), head("support", "prompts", "number"), head("influence", "influence"), h("th", { scope: "col" }, "tied to"))),
      h("tbody", {}, rows.map((row) => {
        const name = `${row.layer}/${row.feature}`;
        return h("tr", { key: name },
          h("th", { scope: "row" }, h("a", { href: link(state, "feature", name) }, name)),
          h("td", {}, h("bdi", {}, clip(row.label ?? "", 60))),
          h("td.number", {}, count(row.prompts)),
          h("td", {}, h("span.cell", {}, shareBar(row.influence / most), number(row.influence))),
          h("td", {}, h("bdi", {}, clip(row.group ?? "", 30))));
      })))),
    rows.length ? null : h("p.empty", {}, "No feature is like that."),
  ];
}
