// Runs that were saved: notes of the kind `run`, each with its changes, its answers and the Python that repeats it.

import { h } from "viewer/elements.js";
import { canWrite, writeNote } from "viewer/notes.js";
import { clip, share } from "viewer/parts/text.js";
import { parse, spell } from "viewer/state.js";

const MOST_ACTIVATIONS = 1000; // of a note: those that changed most

/** The saved run that the address names, as an answer. */
export const recorded = ({ state, data }) => data.notes.runs.find((note) => note.id === state.run)?.run ?? null;

/** A form that saves an answer; a save that fails keeps its text. */
export function saveRun(context, graph, answer) {
  const { state, local, draw, sweep, reload, say } = context;
  if (state.run || !state.do.length) return null;
  const named = local.runName ?? state.do.map((one) => clip(one, 24)).join(", ").slice(0, 80);
  const save = async (event) => {
    event.preventDefault();
    const { changes: _, differs: __, ...rest } = answer;
    const activations = [...answer.activations].sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before)).slice(0, MOST_ACTIVATIONS);
    const run = { ...rest, id: graph.prompt.id, mode: state.mode || "direct", changes: answer.changes, activations };
    const text = new FormData(event.target).get("name").trim() || named;
    try {
      const saved = await writeNote(sweep, { kind: "run", text, state: spell({ ...state, paint: "what-if", run: "" }), run });
      Object.assign(local, { runName: null, runFailed: null });
      say(`“${clip(text, 40)}” is saved.`);
      context.go({ run: saved.id });
      reload();
    } catch (error) {
      local.runFailed = `Not saved: ${error.message} ${error.wayOut ?? ""}`;
      draw();
    }
  };
  return h("form.tools", { key: "save", onsubmit: save },
    h("input", { name: "name", "aria-label": "Name of the run", value: named, oninput: (event) => (local.runName = event.target.value) }),
    h("button", {}, "Save this run"),
    canWrite(sweep) ? null : h("span.soft", {}, "kept in this browser only"),
    local.runFailed ? h("p.bad", { role: "alert" }, local.runFailed) : null);
}

/** The prompt's saved runs, each with a link. */
export function savedRuns({ state, data }, graph) {
  const runs = data.notes.runs.filter((note) => note.run?.id === graph.prompt.id);
  if (!runs.length) return null;
  return h("div", { key: "saved" }, h("h3", {}, "Saved runs"), h("ul.plain.runs", {}, runs.map((note) => h("li", { key: note.id, class: note.id === state.run ? "is-selected" : "" },
    runLink(state, note), " ", summary(note.run)))));
}

/** The address that shows a saved run again. */
export const runLink = ({ at, theme }, note) =>
  h("a", { href: spell({ ...parse(note.state ?? ""), at, theme, page: "graph", key: note.run?.id ?? "", run: note.id }) }, h("bdi", {}, clip(note.text, 60)));

/** The answer that moved most, in a few words. */
export function summary(run) {
  const [most] = [...(run?.tokens ?? [])].sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
  return most ? h("span.soft", {}, h("bdi", {}, clip(most.label, 16)), ` ${share(most.before)} → ${share(most.after)}`) : null;
}
