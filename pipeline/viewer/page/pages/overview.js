// The sweep at a glance: what there is, how good its graphs are by family, and what deserves a look.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { command } from "viewer/parts/command.js";
import { histogram, shareBar } from "viewer/parts/histogram.js";
import { bytes, clip, count, number, plural, share } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = () => "Overview";
export const needs = () => "";
export const load = () => api.get("/api/overview");

const MEASURES = [
  ["replacement_score", "replacement", "Share of the influence on the answer that comes through features, not errors"],
  ["completeness_score", "completeness", "Share of the kept nodes' inputs that is not error"],
  ["necessity", "necessity", "Drop of the answer's probability when the circuit's features are taken away"],
  ["sufficiency", "sufficiency", "What stays of the answer when only the circuit's features are left"],
];

export function draw({ state, data, sweep }) {
  return [
    h("h1.hidden-title", {}, `Overview of ${sweep.name}`),
    tiles(state, data.counts, sweep),
    sweep.graphs ? null : nothingYet(sweep, data),
    h("div.overview-grid", {},
      h("div", {},
        h("section.card", { key: "families" }, families(state, data, sweep.missing?.faithfulness ?? `circuit-sweep validate ${sweep.url}`)),
        h("section.card", { key: "nights" }, nights(state, data.nights, data.failures, sweep))),
      h("div", {},
        h("section.card", { key: "look" }, lookAt(state, data.look_at)),
        h("section.card", { key: "features" }, features(state, data.features)))),
  ];
}

function tiles(state, counts, sweep) {
  const tile = (value, name, href) =>
    h(href ? "a.tile" : "div.tile", { key: name, href: href ?? null }, h("b", {}, value), h("span", {}, name));
  return h("div.tiles", {},
    tile(count(counts.graphs), "graphs", link(state, "prompts")),
    counts.failures ? tile(count(counts.failures), "failed", link(state, "failures")) : tile("0", "failed"),
    tile(count(counts.features), "features", link(state, "features")),
    tile(count(counts.nodes), "nodes"),
    tile(count(counts.edges), "edges"),
    tile(bytes(counts.bytes), "on disk"),
    h("div.tile.names", { key: "model" },
      h("span", {}, "model ", h("bdi", {}, clip(sweep.model ?? "–", 40))),
      h("span", {}, "dictionary ", h("bdi", {}, clip(sweep.transcoders ?? "–", 40)))));
}

function nothingYet(sweep, { counts }) {
  const where = sweep.url;
  return h("section.card.notice", { key: "nothing" },
    h("h2", {}, counts.failures ? "No prompt has a graph: all failed" : "No graph yet"),
    h("p", {}, "How far the sweep is: ", command(`circuit-sweep status ${where}`)));
}

function families(state, { families: rows, group }, validate) {
  const judged = rows.some((row) => row.judged);
  const tested = rows.some((row) => row.necessity.n);
  const shown = MEASURES.filter(([name]) => tested || !name.endsWith("ency"));
  return [
    h("h2", {}, group ? `By ${clip(group, 30)}` : "Scores"),
    h("div.scroll", {}, h("table", {},
      h("thead", {}, h("tr", {},
        h("th", { scope: "col" }, group ?? ""),
        h("th.number", { scope: "col" }, "graphs"),
        judged ? h("th.number", { scope: "col" }, "right") : null,
        shown.map(([name, short, meaning]) => h("th", { key: name, scope: "col", title: meaning }, short)),
        tested ? h("th", { scope: "col", title: "Of the graphs with something at stake, those whose circuit is necessary beyond random sets" }, "necessary") : null)),
      h("tbody", {}, rows.map((row) => familyRow(state, row, group, shown, judged, tested))))),
    tested ? null : h("p.empty", {}, "Not tested in the model yet: ", command(validate)),
  ];
}

function familyRow(state, row, group, shown, judged, tested) {
  const is = group ? [`${group}=${row.family}`] : [];
  const pick = (measure) => (low, high) => {
    const end = high >= 1 ? "<=" : "<";
    location.hash = link(state, "prompts", "", { is, where: `${measure} >= ${low} and ${measure} ${end} ${high}` });
  };
  return h("tr", { key: row.family },
    h("th", { scope: "row" }, h("a", { href: link(state, "prompts", "", { is }) }, h("bdi", {}, clip(row.family || "(none)", 40)))),
    h("td.number", {}, count(row.n)),
    judged ? h("td.number", {}, row.judged ? share(row.correct / row.judged) : "–") : null,
    shown.map(([name, short]) => h("td", { key: name },
      row[name].n ? h("span.cell", {},
        h("span.median", {}, share(row[name].median)),
        histogram(row[name].bins, { width: 54, height: 24, onPick: pick(name), label: `${short} of ${row.family}: median ${share(row[name].median)}` })) : "–")),
    tested ? h("td", {}, row.at_stake ? h("span.cell", {}, shareBar(row.necessary / row.at_stake), `${row.necessary} of ${row.at_stake}`) : "–") : null);
}

function lookAt(state, rows) {
  const reasons = [...new Set(rows.map((row) => row.reason))];
  return [
    h("h2", {}, "Look at these"),
    rows.length ? null : h("p.empty", {}, "Nothing stands out: no wrong answer, no complete graph whose circuit is not necessary."),
    reasons.map((reason) => h("div.reason", { key: reason },
      h("h3", {}, reason),
      h("ul.plain", {}, rows.filter((row) => row.reason === reason).slice(0, 5).map((row) =>
        h("li", { key: row.prompt_key },
          h("a", { href: link(state, "graph", row.id) }, h("bdi", {}, clip(row.id, 36))),
          h("span.soft", {}, " ", h("bdi", {}, clip(row.text, 64)), ` ${whyOf(row)}`)))))),
  ];
}

function whyOf(row) {
  if (row.reason.startsWith("wrong")) return `→ ${clip(row.prediction, 20)} ${share(row.prediction_probability)}`;
  if (row.reason.startsWith("complete")) return `completeness ${share(row.completeness_score)}, rank ${row.necessity_rank} of ${row.draws + 1}`;
  return share(row.unexpanded_influence);
}

function features(state, rows) {
  const most = rows[0]?.influence || 1;
  return [
    h("h2", {}, h("a", { href: link(state, "features") }, "Most influential features")),
    h("table.tight", {}, h("tbody", {}, rows.slice(0, 12).map((row) => {
      const name = `${row.layer}/${row.feature}`;
      return h("tr", { key: name },
        h("th", { scope: "row" }, h("a", { href: link(state, "feature", name) }, name)),
        h("td", {}, h("bdi", {}, clip(row.label ?? "", 30))),
        h("td.number", {}, plural(row.prompts, "prompt")),
        h("td", {}, h("span.cell", {}, shareBar(row.influence / most), number(row.influence))));
    }))),
  ];
}

function nights(state, rows, failures, sweep) {
  return [
    h("h2", {}, "Nights"),
    rows.length ? h("table.tight", {}, h("tbody", {}, rows.slice(-8).map((row) =>
      h("tr", { key: row.version },
        h("th", { scope: "row" }, h("a", { href: link({ ...state, at: String(row.version) }, "overview") }, `version ${row.version}`)),
        h("td", {}, new Date(row.written).toLocaleString()),
        h("td.number", {}, `+${count(row.new_graphs)}`))))) : h("p.empty", {}, "No version is published yet: the sweep still runs."),
    failures.length ? [h("h2", {}, h("a", { href: link(state, "failures") }, "Failures")),
      h("ul.plain", {}, failures.map((row) => h("li", { key: row.stage }, `${row.n} at ${row.stage}: `, h("bdi.soft", {}, clip(row.messages[0], 120)))))] : null,
    sweep.is_compacted ? null : h("p.empty", {}, "Not compacted; looking things up gets faster with ", command(sweep.compact)),
    Object.entries(sweep.missing ?? {}).length ? h("details", {}, h("summary", {}, "Tables that can still be made"),
      [...new Set(Object.values(sweep.missing))].map((made) => h("p.empty", { key: made }, command(made)))) : null,
  ];
}
