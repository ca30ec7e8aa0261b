// The table of prompts: filtered by facets, words or SQL, sorted by any column, thousands of rows without a page turn.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { tokenRow } from "viewer/parts/tokens.js";
import { clip, count, number, share } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = () => "Prompts";
export const needs = ({ where, q, sort, is, group }) => [where, q, sort, is, group];

const ROW = 46; // pixels; all rows have it, so that only those in sight are made
const params = ({ where, q, sort, is, group }) => ({ where, q, sort, group, ...Object.fromEntries(facetsOf(is)) });

function facetsOf(is) {
  const facets = new Map();
  for (const one of is) {
    const split = one.indexOf("=");
    const name = `is.${one.slice(0, split)}`;
    facets.set(name, [...(facets.get(name) ?? []), one.slice(split + 1)]);
  }
  return facets;
}

export async function load(state, { signal }) {
  const first = await api.get("/api/prompts", params(state), signal);
  return { ...first, rows: [...first.rows] };
}

export const enter = ({ local }) => Object.assign(local, { top: 0, isAsking: false });

const COLUMNS = [
  ["id", "prompt"],
  ["targets", "answer", (row) => h("span", {}, h("bdi.chip", {}, clip(row.targets[0]?.label ?? row.prediction, 16)), " ", h("span.soft", {}, share(row.targets[0]?.probability ?? row.prediction_probability)))],
  ["correct", "right", (row) => (row.correct === null ? "–" : row.correct ? h("span.good", {}, "✓ right") : h("span.bad", {}, "✗ wrong"))],
  ["replacement_score", "replacement", (row) => share(row.replacement_score)],
  ["completeness_score", "completeness", (row) => share(row.completeness_score)],
  ["verdict", "verdict", (row) => verdictChip(row.verdict)],
  ["kept_nodes", "nodes", (row) => count(row.kept_nodes)],
  ["kept_edges", "edges", (row) => count(row.kept_edges)],
];

export function verdictChip(verdict) {
  if (!verdict || verdict === "not tested") return h("span.soft", {}, "–");
  const sign = { necessary: "●", "not necessary": "○" }[verdict] ?? "·";
  return h("span.chip", { class: verdict === "necessary" ? "good" : verdict === "not necessary" ? "bad" : "" }, `${sign} ${verdict}`);
}

export function draw(context) {
  const { data, local } = context;
  return [
    h("h1", {}, "Prompts ", h("small", {}, `${count(data.total)}`)),
    h("div.prompts", {},
      h("aside.facets", { "aria-label": "Filters" }, h("details", { open: local.isFiltering ?? window.innerWidth > 700, ontoggle: (event) => (local.isFiltering = event.currentTarget.open) },
        h("summary", {}, "Filters"), facets(context))),
      h("div.list", {}, queryBox(context), chosen(context), table(context))),
  ];
}

function facets({ state, data, go }) {
  const toggle = (one) => go({ is: state.is.includes(one) ? state.is.filter((other) => other !== one) : [...state.is, one] });
  return Object.entries(data.facets).filter(([, values]) => values.length > 1 || state.is.length).map(([name, values]) =>
    h("fieldset", { key: name }, h("legend", {}, clip(name, 24)),
      values.slice(0, 16).map(([value, n]) => {
        const one = `${name}=${value}`;
        return h("label", { key: value }, h("input", { type: "checkbox", checked: state.is.includes(one), onchange: () => toggle(one) }),
          h("bdi", {}, clip(value || "(none)", 24)), h("span.soft", {}, count(n)));
      })));
}

function queryBox({ state, go }) {
  const ask = (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get("q");
    go(/^where:/i.test(text) ? { where: text.slice(6).trim(), q: "" } : { q: text });
  };
  return h("form.query", { onsubmit: ask },
    h("input", { name: "q", type: "search", "aria-label": "Filter", placeholder: 'words, "two words", 2/350, or where: completeness_score > 0.9', value: state.q }),
    h("button", {}, "Filter"),
    state.where ? h("span.chip", {}, h("code", {}, clip(state.where, 70)), h("button.small", { type: "button", "aria-label": "Remove the condition", onclick: () => go({ where: "" }) }, "×")) : null,
    state.is.map((one) => h("span.chip", { key: one }, h("bdi", {}, clip(one, 40)),
      h("button.small", { type: "button", "aria-label": `Remove ${clip(one, 40)}`, onclick: () => go({ is: state.is.filter((other) => other !== one) }) }, "×"))));
}

function chosen({ state, go, sweep }) {
  const { pick } = state;
  if (!pick.length) return h("p.hint", {}, "Tick prompts to compare two, or to see the circuit that they share.");
  return h("p.chosen", { role: "status" }, `${count(pick.length)} chosen: `,
    h("a.button", { href: link(state, "circuit", "", { keys: pick }) }, "circuit of these"), " ",
    pick.length === 2 ? h("a.button", { href: link(state, "diff", pick[0], { prompt: pick[1] }) }, "compare the two") : null, " ",
    h("button", { onclick: () => navigator.clipboard?.writeText(exported(sweep.url, pick)) }, "copy the export command"), " ",
    h("button", { onclick: () => go({ pick: [] }) }, "clear"));
}

const shell = (text) => (/^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const exported = (url, ids) => `circuit-sweep view ${shell(url)} --export page.html ${ids.map((id) => `--prompt ${shell(id)}`).join(" ")}`;

function table(context) {
  const { state, data, go, local, draw: again } = context;
  const sortBy = (name) => go({ sort: state.sort === name ? `-${name}` : name });
  const extra = (context.sweep.extra_columns ?? []).filter((name) => !["answer", "correct"].includes(name) && data.rows.some((row) => ![null, undefined, ""].includes(row[name]))).slice(0, 3);
  const columns = [...COLUMNS.filter(([name]) => name !== "correct" || data.rows.some((row) => row.correct !== null)),
    ...extra.map((name) => [name, name, (row) => h("bdi", {}, clip(typeof row[name] === "number" ? number(row[name]) : row[name] ?? "–", 24))])];
  const height = Math.max(400, window.innerHeight - 260);
  const first = Math.max(0, Math.floor((local.top ?? 0) / ROW) - 6);
  const last = Math.min(data.rows.length, first + Math.ceil(height / ROW) + 12);
  const scrolled = (event) => {
    local.top = event.currentTarget.scrollTop;
    if (data.after && !local.isAsking && local.top + height > (data.rows.length - 30) * ROW) more(context);
    again();
  };
  const heading = ([name, text]) => h("th", { key: name, scope: "col", "aria-sort": state.sort === name ? "ascending" : state.sort === `-${name}` ? "descending" : null },
    name === "targets" ? text : h("button.sort", { onclick: () => sortBy(name) }, clip(text, 20), state.sort === name ? " ↑" : state.sort === `-${name}` ? " ↓" : ""));
  return h("div.rows", { style: { height: `${height}px` }, onscroll: scrolled, tabindex: 0, role: "region", "aria-label": "Prompts" },
    h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.visually-hidden", {}, "Choose")), columns.map(heading))),
      h("tbody", {},
        h("tr.gap", { key: "above", "aria-hidden": "true" }, h("td", { style: { height: `${first * ROW}px` } })),
        data.rows.slice(first, last).map((row) => promptRow(context, row, columns)),
        h("tr.gap", { key: "below", "aria-hidden": "true" }, h("td", { style: { height: `${(data.rows.length - last) * ROW}px` } })))),
    data.rows.length ? null : h("p.empty", {}, "No prompt is like that."),
    data.after ? h("p.empty", {}, h("button", { onclick: () => more(context) }, "More")) : null);
}

function promptRow({ state, go }, row, columns) {
  const toggle = () => go({ pick: state.pick.includes(row.id) ? state.pick.filter((id) => id !== row.id) : [...state.pick, row.id] }, { isSoft: true });
  const list = new URLSearchParams({ where: state.where, q: state.q, sort: state.sort }).toString();
  return h("tr", { key: row.prompt_key },
    h("td", {}, h("input", { type: "checkbox", checked: state.pick.includes(row.id), onchange: toggle, "aria-label": `Choose ${clip(row.id, 40)}` })),
    h("td.prompt", {}, h("a", { href: link(state, "graph", row.id, { list: list === "where=&q=&sort=" ? "" : list }) }, h("bdi", {}, clip(row.id, 60))),
      h("div.text", {}, tokenRow(row.tokens, { values: row.token_influence, limit: 40 }))),
    columns.slice(1).map(([name, , cell]) => h("td", { key: name }, cell(row))));
}

async function more({ state, data, local, draw: again, say }) {
  local.isAsking = true;
  try {
    const next = await api.get("/api/prompts", { ...params(state), after: data.after });
    data.rows.push(...next.rows);
    data.after = next.after;
  } catch (error) {
    say(error.message);
  }
  local.isAsking = false;
  again();
}
