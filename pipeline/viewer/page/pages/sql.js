// SQL over the tables: one SELECT, a thousand rows shown, ids and features as links.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { histogram } from "viewer/parts/histogram.js";
import { clip, count, number } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = () => "SQL";
export const needs = () => "";
export const load = async () => ({});

const EXAMPLES = [
  ["features that matter most", "select source_layer, source_feature, count(distinct prompt_key) as prompts, sum(influence) as influence\nfrom edges where source_kind = 'feature' group by all order by influence desc limit 20"],
  ["prompts by completeness", "select id, text, completeness_score from graphs order by completeness_score desc limit 50"],
  ["wrong answers", "select id, text, prediction, answer from graphs where trim(prediction) <> trim(answer) limit 50"],
];

export function enter({ local, state }) {
  local.text = state.q;
  if (state.q && !local.answer) local.isNew = true;
}

export function draw(context) {
  const { state, local, sweep } = context;
  if (local.isNew) {
    local.isNew = false;
    run(context, state.q);
  }
  const keydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(context, event.target.value);
    if (event.key === "Escape") stop(context);
  };
  return [
    h("h1", {}, "SQL"),
    h("div.sql", {},
      h("div", {},
        h("textarea", { rows: 7, spellcheck: "false", "aria-label": "One SELECT over the tables", value: local.text ?? state.q, oninput: (event) => (local.text = event.target.value), onkeydown: keydown }),
        h("p.tools", {},
          h("button.primary", { onclick: () => run(context, local.text ?? "") }, "Run (Ctrl-Enter)"),
          local.isRunning ? h("button", { onclick: () => stop(context) }, "Stop (Esc)") : null,
          EXAMPLES.map(([name, text]) => h("button.small", { key: name, onclick: () => run(context, text) }, name))),
        local.isRunning ? h("p.busy", { role: "status" }, "Asking the tables …") : null,
        local.error ? h("p.bad", { role: "alert" }, local.error.message, " ", local.error.wayOut ?? "") : null,
        local.answer ? result(context, local.answer) : null),
      h("aside.schema", { "aria-label": "Tables" }, Object.entries(sweep.tables).map(([name, table]) =>
        h("details", { key: name }, h("summary", {}, h("code", {}, name), h("span.soft", {}, ` ${count(table.rows)}`)),
          h("dl", {}, table.columns.map((column) => h("div", { key: column.name }, h("dt", {}, h("code", {}, clip(column.name, 40))), h("dd", {}, clip(column.meaning || column.type, 200))))))))),
  ];
}

async function run(context, text) {
  const { local, go, draw: again } = context;
  if (!text.trim()) return;
  const id = `q${Date.now()}`;
  Object.assign(local, { text, isRunning: id, error: null });
  go({ q: text }, { isSoft: true });
  try {
    const answer = await api.post("/api/sql", { sql: text, id });
    if (local.isRunning === id) local.answer = answer;
  } catch (error) {
    if (local.isRunning === id) Object.assign(local, { error, answer: null });
  }
  if (local.isRunning === id) local.isRunning = null;
  again();
}

async function stop({ local, draw: again }) {
  if (!local.isRunning) return;
  const id = local.isRunning;
  local.isRunning = null;
  again();
  await api.remove(`/api/sql/${id}`).catch(() => {});
}

function result({ state, local, draw: again }, { columns, rows, truncated, total }) {
  const names = columns.map((column) => column.name ?? column);
  const numeric = names.filter((_, i) => rows.length > 2 && rows.every((row) => row[i] === null || typeof row[i] === "number"));
  const csv = () => [names, ...rows].map((row) => row.map(quoted).join(",")).join("\n");
  const pick = (name) => {
    local.column = local.column === name ? null : name;
    again();
  };
  return h("section", { key: "answer" },
    h("p.soft", { role: "status" }, `${count(rows.length)} rows`, truncated ? ` of ${total ? count(total) : "more"}: the first are shown` : "", " ",
      h("a.button", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "answer.csv" }, "these as CSV"), " ",
      numeric.slice(0, 6).map((name) => h("button.small", { key: name, "aria-pressed": String(local.column === name), onclick: () => pick(name) }, `bars of ${clip(name, 20)}`))),
    local.column && names.includes(local.column) ? bars(local.column, rows.map((row) => row[names.indexOf(local.column)])) : null,
    h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Answer" }, h("table", {},
      h("thead", {}, h("tr", {}, names.map((name, i) => h("th", { key: i, scope: "col" }, clip(name, 40))))),
      h("tbody", {}, rows.slice(0, 1000).map((row, i) => h("tr", { key: i }, row.map((value, j) => h("td", { key: j, class: typeof value === "number" ? "number" : "" }, cell(state, names, row, j)))))))));
}

const quoted = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

function bars(name, values) {
  const held = values.filter((value) => typeof value === "number");
  const [low, high] = [Math.min(...held), Math.max(...held)];
  const bins = new Array(24).fill(0);
  for (const value of held) bins[Math.min(23, Math.floor((24 * (value - low)) / (high - low || 1)))]++;
  return h("p.cell", {}, number(low), histogram(bins, { from: low, to: high, width: 360, height: 60, label: `Histogram of ${name}` }), number(high));
}

function cell(state, names, row, column) {
  const [name, value] = [names[column], row[column]];
  if (value === null) return h("span.soft", {}, "null");
  if (name === "id" || name === "prompt_key") return h("a", { href: link(state, "graph", String(value)) }, h("bdi", {}, clip(value, 60)));
  const layer = names.indexOf(name.replace(/feature$/, "layer"));
  if (/feature$/.test(name) && layer >= 0) return h("a", { href: link(state, "feature", `${row[layer]}/${value}`) }, number(value));
  return typeof value === "number" ? number(value) : h("bdi", {}, clip(typeof value === "object" ? JSON.stringify(value) : value, 200));
}
