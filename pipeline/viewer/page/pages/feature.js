// One feature over the whole sweep: when it acts, what it says, where it stands in circuits.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { readNotes } from "viewer/notes.js";
import { ablation } from "viewer/pages/feature/ablation.js";
import { command } from "viewer/parts/command.js";
import { activations, exampleLine, promotedOf } from "viewer/parts/feature.js";
import { histogram, shareBar, signedBar } from "viewer/parts/histogram.js";
import { edit, labelField } from "viewer/parts/labels.js";
import { heads } from "viewer/parts/table.js";
import { clip, count, number, percent, plural, share, short } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export const title = ({ key }) => `Feature ${key}`;
export const needs = ({ key, more }) => [key, more];

export async function load({ key, more }, { signal, sweep }) {
  const path = `/api/feature/${key.split("@")[0].split("/").map(api.part).join("/")}`;
  const [found, inputs, outputs, notes, groups] = await Promise.all([
    api.get(path, more > 1 ? { more } : {}, signal),
    api.get(`${path}/edges`, { end: "source" }, signal),
    api.get(`${path}/edges`, { end: "target" }, signal),
    readNotes(sweep),
    // The groups of prompts that have it, for its ablation.
    api.isExported ? [] : api.get("/api/prompts", { q: key.split("@")[0], limit: 1 }, signal).then(({ facets }) => facets.family ?? [], () => []),
  ]);
  return { found, inputs, outputs, notes, groups };
}

export function enter({ local, state }) {
  if (local.of !== state.key) Object.assign(local, { of: state.key, live: {} });
}

export function draw(context) {
  const { state, data, sweep } = context;
  const { found } = data;
  const feature = state.key.split("@")[0];
  return [
    h("div.head", {}, h("h1", {}, "Feature ", h("code", {}, feature), named(data.notes, feature)), labelField(context, feature)),
    facts(state, found),
    h("div.feature-grid", {},
      h("div", {}, h("section.card", { key: "ablate" }, ablation(context, feature, data.groups)), h("section.card", { key: "examples" }, examples(context, found))),
      h("div.feature-cards", {},
      h("section.card", { key: "says" }, h("h2", {}, "What it says"), promotedOf(context, feature)),
      h("section.card", { key: "ties" }, ties(state, found, sweep)),
      h("section.card", { key: "prompts" }, prompts(state, found, feature)),
      h("section.card", { key: "inputs" }, ends(context, "Strongest inputs", data.inputs)),
      h("section.card", { key: "outputs" }, ends(context, "Strongest outputs", data.outputs)),
      h("section.card", { key: "neighbours" }, neighbours(state, found, sweep)))),
  ];
}

/** What people call it: its label, else the group that they keep it in. */
function named(notes, feature) {
  const name = notes.labels.get(feature) ?? notes.groups.find((group) => group.members?.includes(feature))?.text;
  return name ? h("bdi.name", {}, clip(name, 60)) : null;
}

function facts(state, { stats = {}, histogram: made, profile }) {
  return h("div.facts.large", {},
    h("span", {}, h("b", {}, count(stats.prompts)), " prompts"),
    h("span", {}, h("b", {}, count(stats.positions)), " positions"),
    h("span", {}, "influence ", h("b", {}, number(stats.influence))),
    made ? activations({ histogram: made }) : null,
    profile?.counts?.length ? h("p.cell", {}, h("span.soft", {}, "from the end"), histogram(profile.counts, { from: 0, to: profile.counts.length, width: 110, height: 34, label: "Positions from the end" })) : null);
}

function examples({ state, go }, found) {
  const bands = found.examples ?? [];
  if (!bands.length) return [h("h2", {}, "Where it acts"), h("p.empty", {}, "The sweep kept no activations of it.")];
  return [h("h2", {}, "Where it acts"), bands.map((group, i) => h("div.band", { key: i },
    h("h3", {}, group.band),
    h("ul.plain.examples", {}, group.examples.map((example, j) => exampleLine(state, example, j))))),
  found.has_more ? h("button", { onclick: () => go({ more: state.more + 1 }) }, "more") : null];
}

function ties(state, found, sweep) {
  const rows = found.ties ?? [];
  return [h("h2", {}, "Tied to"), rows.length ? h("table.tight", {}, h("tbody", {}, rows.slice(0, 12).map((row, i) =>
    h("tr", { key: i }, h("th", { scope: "row" }, h("a", { href: link(state, "prompts", "", { is: [`${row.column}=${row.group}`] }) }, h("bdi", {}, clip(row.group, 30)))),
      h("td", {}, row.log2_odds < 0 ? h("span.soft", {}, "less than others") : row.support !== undefined ? plural(row.support, "prompt") : ""), h("td.number", {}, `q ${number(row.q_value)}`)))))
    : h("p.empty", {}, sweep.missing?.feature_enrichment ? ["Not mined yet: ", command(sweep.missing.feature_enrichment)] : "No group of prompts has it more often than others."),
  found.supernodes?.length ? h("p", {}, "Supernodes: ", found.supernodes.slice(0, 4).map((one, i) => h("span", { key: i }, h("code", {}, `${one.supernode}`), ` of ${one.members} features `))) : null];
}

function prompts(state, found, feature) {
  const rows = found.prompts ?? [];
  const most = rows[0]?.influence || 1;
  return [h("h2", {}, "Prompts that keep it"), h("table.tight", {}, h("tbody", {}, rows.slice(0, 12).map((row, i) =>
    h("tr", { key: i }, h("th", { scope: "row" }, h("a", { href: link(state, "graph", row.id, { sel: [`${feature}@${row.position}`] }) }, h("bdi", {}, clip(row.id, 30)))),
      h("td", {}, h("span.cell", {}, shareBar(row.influence / most), share(row.influence))))))),
  h("p", {}, h("a", { href: link(state, "prompts", "", { q: feature }) }, "all of them →"), " · ",
    h("a", { href: link(state, "circuit", "", { source: feature }) }, "their circuit →"))];
}

function ends({ state, data }, name, { rows = [] }) {
  const most = Math.max(1e-9, ...rows.map((row) => Math.abs(row.mean_weight)));
  return [h("h2", {}, name, h("small", {}, " over all prompts")), rows.length ? h("table.tight", {},
    heads("", "#prompts", "mean weight", "#one sign"),
    h("tbody", {}, rows.slice(0, 14).map((row, i) => h("tr", { key: i },
      h("th", { scope: "row" }, endOf(state, row, data.notes)),
      h("td.number", {}, count(row.support)),
      h("td", {}, h("span.cell", {}, signedBar(row.mean_weight, most, 40), short(row.mean_weight))),
      h("td.number", {}, percent(row.sign_consistency)))))) : h("p.empty", {}, "None in the stored graphs.")];
}

function endOf(state, row, notes) {
  if (row.kind === "feature") {
    const name = `${row.layer}/${row.feature}`;
    return h("a", { href: link(state, "feature", name), title: name }, h("bdi", {}, clip(notes.labels.get(name) ?? name, 24)));
  }
  return h("bdi", {}, clip(row.token ?? (row.kind === "error" ? `error of layer ${row.layer}` : row.kind), 24));
}

function neighbours(state, found, sweep) {
  const rows = found.neighbours ?? [];
  return [h("h2", {}, "Neighbours"), rows.length ? h("table.tight", {}, h("tbody", {}, rows.slice(0, 12).map((row, i) =>
    h("tr", { key: i }, h("th", { scope: "row" }, h("a", { href: link(state, "feature", `${row.layer}/${row.feature}`) }, `${row.layer}/${row.feature}`)),
      h("td.number", {}, `npmi ${share(row.npmi)}`), h("td.number", {}, row.virtual_weight !== undefined ? `weight ${number(row.virtual_weight)}` : "")))))
    : h("p.empty", {}, sweep.missing?.feature_pairs ? ["Not mined yet: ", command(sweep.missing.feature_pairs)] : "Nothing acts together with it more than chance.")];
}

export const keys = { l: ["label the feature", (context) => edit(context, context.state.key.split("@")[0])] };
