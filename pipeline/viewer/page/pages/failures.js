// Prompts that have no graph, each with the stage at which it failed and what was said.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { heads } from "viewer/parts/table.js";
import { clip, count, visible } from "viewer/parts/text.js";

export const title = () => "Failures";
export const needs = () => "";
export const load = (_, { signal }) => api.get("/api/failures", {}, signal).catch((error) => (error.status === 404 ? { rows: [], total: 0 } : Promise.reject(error)));

export function draw({ data }) {
  return [
    h("h1", {}, "Failures ", h("small", {}, count(data.total))),
    data.rows.length ? h("div.scroll", {}, h("table", {},
      heads("prompt", "stage", "error", "message", "#attempts"),
      h("tbody", {}, data.rows.map((row) => h("tr", { key: row.prompt_key },
        h("th", { scope: "row" }, h("bdi", {}, clip(row.id, 60)), h("div.soft", {}, h("bdi", {}, clip(row.text, 100)))),
        h("td", {}, row.stage),
        h("td", {}, clip(row.error_class, 60)),
        h("td.message", {}, h("bdi", {}, visible(row.message))),
        h("td.number", {}, count(row.attempts))))))) : h("p.empty", {}, "No prompt failed."),
    data.rows.length < data.total ? h("p.soft", {}, `The first ${count(data.rows.length)} of ${count(data.total)}.`) : null,
  ];
}
