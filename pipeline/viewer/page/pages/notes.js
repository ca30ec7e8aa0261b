// Labels, groups and views that people wrote beside the tables.

import { h } from "viewer/elements.js";
import { readNotes, writeNote } from "viewer/notes.js";
import { command } from "viewer/parts/command.js";
import { runLink, summary } from "viewer/pages/graph/runs.js";
import { clip, count, visible } from "viewer/parts/text.js";
import { link, parse } from "viewer/state.js";

export const title = () => "Notes";
export const needs = () => "";
export const load = async (_, { sweep }) => ({ notes: await readNotes(sweep) });

export function draw(context) {
  const { data: { notes }, state, sweep } = context;
  const rows = (kind) => notes.all.filter((note) => note.kind === kind);
  const forget = async (note) => {
    try {
      await writeNote(context.sweep, { kind: note.kind, text: "", members: [], deleted: true, replaces: note.id });
      context.reload();
    } catch (error) {
      context.say(`Not deleted: ${error.message}`);
    }
  };
  const section = (kind, name, where, how) => h("section.card", { key: kind },
    h("h2", {}, name, " ", h("small", {}, count(rows(kind).length))),
    rows(kind).length ? h("table", {}, h("tbody", {}, rows(kind).map((note) => h("tr", { key: note.id },
      h("th", { scope: "row" }, h("bdi", { title: visible(note.text) }, clip(note.text, 80))),
      h("td", {}, where(note)),
      h("td.soft", {}, h("bdi", {}, clip(note.author ?? (note.isOwn ? "this browser" : ""), 30)), " ", note.created ? new Date(note.created).toLocaleString() : ""),
      h("td", {}, note.isOwn ? null : h("button.small", { onclick: () => forget(note) }, "delete")))))) : h("p.empty", {}, `None yet. ${how}`));
  const members = (note) => (note.members ?? []).slice(0, 12).map((member, i) => [i ? ", " : "", h("a", { key: member, href: link(state, "feature", member.split("@")[0]) }, clip(member, 30))]);
  return [
    h("h1", {}, "Notes"),
    h("p.soft", {}, notes.isKept
      ? ["Kept beside the tables, for everybody who reads them. In SQL they are ", ["labels", "groups", "views", "runs"].map((name, i) => [i ? ", " : "", h("code", { key: name }, name)]), "; to another output they go with ", command(`circuit-sweep notes ${sweep.url} export notes.json`)]
      : "This output takes no notes: what you write stays in this browser."),
    state.at ? h("p.warned", {}, "The tables are of an earlier version; the notes are today's.") : null,
    h("div.pair", {},
    section("label", "Labels", members, "On a feature or a graph with a feature selected, press l."),
    section("group", "Supernodes", members, "In a graph select several features, press g, and keep the group everywhere."),
    section("run", "Saved runs", (note) => [runLink(state, note), " ", h("bdi.soft", {}, clip(note.run?.id ?? "", 30)), " ", summary(note.run)], "In a graph select a feature, press x, run, and save the run."),
    section("view", "Views", (note) => h("a", { href: link(state, parse(note.state ?? "").page, parse(note.state ?? "").key, { view: note.id }) }, clip(parse(note.state ?? "").key, 60)), "Share on a graph makes one where the address would be too long.")),
  ];
}
