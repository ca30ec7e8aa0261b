// A typed prompt, traced and drawn by the live model; two of them side by side. Never stored among the sweep's own.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { graphOf } from "viewer/graph/graph.js";
import { readNotes } from "viewer/notes.js";
import { compared, comparison } from "viewer/pages/diff.js";
import { sliders } from "viewer/pages/graph/controls.js";
import { selection } from "viewer/pages/graph/panel.js";
import { subgraph } from "viewer/pages/graph/subgraph.js";
import { graphTable } from "viewer/pages/graph/table.js";
import { DRAWING_KEYS, drawing, edgeNamed, sceneOf } from "viewer/parts/drawing.js";
import { command } from "viewer/parts/command.js";
import { tokenRow } from "viewer/parts/tokens.js";
import { clip, share } from "viewer/parts/text.js";

export const title = ({ text }) => (text ? `Trace: ${clip(text, 40)}` : "Trace");
export const waits = "The model traces the prompt; the first question loads it …";
export const needs = ({ text, second, target, chat }) => [text, second, target, chat];

export async function load({ text, second, target, chat }, { sweep }) {
  if (!text || api.isExported) return {};
  const trace = (prompt) => api.post("/api/live/trace", { text: prompt, target: target || null, chat });
  const notes = await readNotes(sweep);
  const first = await trace(text);
  const graph = graphOf(first);
  if (!second) return { graph, notes };
  return { notes, graph, ...compared(graph, graphOf(await trace(second))) };
}

export function draw(context) {
  const { state, data, sweep } = context;
  return [
    h("h1", {}, "Trace a prompt"),
    sweep.can?.model === false || api.isExported ? h("p.warned", {}, "This page has no model: ", command(`circuit-sweep view ${sweep.url} --model auto`)) : form(context),
    data.union ? comparison(context, data) : data.graph ? one(context, data) : h("p.hint", {}, "The sweep's own model traces it as the sweep would, in a process of its own; the first one takes a few seconds longer. Nothing is stored: the address of this page holds the prompt."),
  ];
}

function form({ state, go, sweep }) {
  const ask = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    go({ page: "trace", text: given.get("text"), second: given.get("second"), target: given.get("target"), chat: given.get("chat") === "on" }, { isNew: true });
  };
  const field = (name, label, placeholder) => h("label", { key: name }, h("span", {}, label), h("input", { name, value: state[name], placeholder }));
  return h("form.card.fields", { onsubmit: ask },
    field("text", "Prompt", "The capital of the state containing Dallas is"),
    field("second", "Beside it", "a second prompt, to compare (may stay empty)"),
    field("target", "Answer to explain", "the likeliest"),
    sweep.can?.chat ? h("label", {}, h("span", {}, "As a chat message"), h("input", { type: "checkbox", name: "chat", checked: state.chat })) : null,
    h("button.primary", {}, "Trace"));
}

function one(context, { graph, notes }) {
  const { state } = context;
  const scene = sceneOf(context, graph, { notes: notes.labels });
  return [
    h("p.prompt-text", {}, tokenRow(graph.prompt.tokens), h("span.arrow", {}, "→"), graph.targets.slice(0, 4).map((target, i) => h("span", { key: i }, h("bdi.chip.target", {}, clip(target.label, 20)), ` ${share(target.probability)} `))),
    sliders(context, graph, scene.shown),
    h("div.split", {}, state.table ? graphTable(context, graph, scene.shown, notes.labels) : drawing(context, scene),
      h("aside.panel", { tabindex: -1, "aria-label": "Details" }, selection(context, graph, scene.shown, { notes: notes.labels, edge: edgeNamed(graph, state.edge) }))),
    subgraph(context, graph, notes.labels),
  ];
}

export const keys = DRAWING_KEYS;
