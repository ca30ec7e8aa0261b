// What the graph page's buttons and keys do beyond changing the state.

import * as api from "viewer/api.js";
import { spellGroup } from "viewer/graph/groups.js";
import { pngOf, svgOf } from "viewer/graph/svg.js";
import { writeNote } from "viewer/notes.js";
import { clip, share as shareText } from "viewer/parts/text.js";
import { link, spell } from "viewer/state.js";

const LONGEST = 2000; // letters of an address

/** Copy a link to exactly this view; a long one becomes a saved view. */
export async function share(context) {
  const { state, sweep, say } = context;
  let hash = spell(state);
  if (hash.length > LONGEST) {
    const saved = await writeNote(sweep, { kind: "view", text: `view of ${state.key}`, state: hash });
    hash = link(state, "graph", state.key, { view: saved.id });
  }
  await navigator.clipboard?.writeText(location.href.split("#")[0] + hash);
  say("The link to this view is copied.");
}

/** Save the drawing as SVG or PNG, with the prompt, what is shown and the link below it. */
export async function picture({ state, local, sweep }, kind) {
  const { view, last } = local.drawing;
  const { counts } = last.shown;
  const { prompt, targets } = last.graph;
  const caption = [
    `${prompt?.id ?? state.key}: ${clip(prompt?.text ?? "", 120)} → ${targets?.map((t) => `${t.label} ${shareText(t.probability)}`).slice(0, 3).join(", ") ?? ""}`,
    `${counts.nodes} of ${counts.allNodes} nodes, ${counts.edges} of ${counts.allEdges} edges · ${sweep.name} · ${clip(spell(state), 200)}`,
  ];
  const content = kind === "svg" ? new Blob([await svgOf(view, caption)], { type: "image/svg+xml" }) : await pngOf(view, caption);
  save(content, `${state.key.replace(/[^\w.-]+/g, "_").slice(0, 80) || "graph"}.${kind}`);
}

export function save(content, name) {
  const url = URL.createObjectURL(content);
  const anchor = document.createElement("a");
  Object.assign(anchor, { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Make the selected nodes a supernode, or the pinned ones. */
export function group({ state, go, say }) {
  const members = (state.sel.length > 1 ? state.sel : state.pin).filter((name) => /^\d/.test(name));
  if (members.length < 2) {
    say("Select several nodes (shift-click, or shift and drag), then press g.");
    return;
  }
  const named = `group ${state.group.length + 1}`;
  go({ group: [...state.group, spellGroup({ name: named, members })], pin: state.pin.filter((name) => !members.includes(name)), sel: [] });
}

export function ungroup({ state, go, local }) {
  const name = state.sel.at(-1);
  const { graph } = local.drawing.last;
  const holds = (spelt) => spelt.split(":").at(-1).split("+").some((member) => member === name || member === name?.split("@")[0]);
  if (graph && name) go({ group: state.group.filter((one) => !holds(one)) });
}

/** Keep a group as a note: its features, wherever they act. */
export async function keepGroup(context, { name, members }) {
  const { sweep, say, reload } = context;
  const features = [...new Set(members.map((member) => member.split("@")[0]))];
  try {
    await writeNote(sweep, { kind: "group", text: name, members: features });
    say(`“${clip(name, 40)}” is kept: ${features.length} features, on every prompt.`);
    reload();
  } catch (error) {
    say(`Not kept: ${error.message}`);
  }
}

/** Undo and redo of pins, groups and hidden things: the states that were, by what they held. */
export function remember(local, state) {
  const spelt = JSON.stringify([state.pin, state.group, state.open, state.do]);
  local.past ??= [spelt];
  if (local.past[local.now ?? 0] === spelt) return;
  local.past = [...local.past.slice(0, (local.now ?? 0) + 1), spelt].slice(-100);
  local.now = local.past.length - 1;
}

export function undo({ local, go, say }, step) {
  const now = (local.now ?? 0) + step;
  if (!local.past?.[now]) {
    say(step < 0 ? "nothing to undo" : "nothing to redo");
    return;
  }
  local.now = now;
  const [pin, groups, open, what] = JSON.parse(local.past[now]);
  go({ pin, group: groups, open, do: what });
}

/** The prompts before and after this one in the list it was opened from. */
export async function neighbours({ state, local }) {
  const query = Object.fromEntries(new URLSearchParams(state.list));
  local.list ??= (await api.get("/api/prompts", { ...query, limit: 1000 })).rows.map((row) => row.id);
  const at = local.list.indexOf(state.key);
  return { before: local.list[at - 1] ?? null, after: at >= 0 ? (local.list[at + 1] ?? null) : null };
}
