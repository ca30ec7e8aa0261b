// What would happen if features were off, weaker, stronger, or as on another prompt: asked of the live model.

import { h } from "viewer/elements.js";
import { featureOf } from "viewer/graph/graph.js";
import { ask, hasModel, known, noModel, standing } from "viewer/live.js";
import { outcome } from "viewer/pages/graph/outcome.js";
import { effects } from "viewer/pages/graph/effects.js";
import { recorded, savedRuns } from "viewer/pages/graph/runs.js";
import { doseCurve } from "viewer/parts/dose.js";
import { clip } from "viewer/parts/text.js";

const MODES = [["", "attention held"], ["full", "nothing held"], ["replacement", "replacement model"]];

/** A change is spelt `1/484@8*0` (times), `1/484@8=3` (set), `1/484@8<POSITION<PROMPT` (taken; without a position,
 * the same one from the end); the feature without position is meant everywhere. */
export function readChange(text) {
  const match = /^(\d+\/\d+)(@-?\d+)?(?:([*=])(-?[\d.eE+-]+)|<(\d*)<(.*))$/s.exec(text);
  if (!match) return null;
  const [, feature, at = "", sign, value, position, prompt] = match;
  const node = feature + at;
  if (sign) return Number.isFinite(Number(value)) ? { node, kind: sign === "*" ? "scale" : "set", value: Number(value) } : null;
  return { node, kind: "take", from: prompt, at: position === "" ? null : Number(position) };
}

const spell = ({ node, kind, value = 0, from = "", at = null }) =>
  kind === "take" ? `${node}<${at ?? ""}<${from}` : `${node}${kind === "scale" ? "*" : "="}${value}`;

/** The answer of the saved run that is looked at, else the model's to the changes. */
export const answerOf = (context) => (context.state.do.length ? recorded(context) ?? known(context, "run").answer : null);

const same = (one, other) => one !== undefined && JSON.stringify(one) === JSON.stringify(other);

/** True where the answer that is shown is not that of the changes in the fields. */
function isStale(context, changes) {
  const { state } = context;
  if (recorded(context)) return false;
  const { answer, body, since } = known(context, "run");
  return Boolean(changes.length && answer && !since && !same([body.changes, body.mode], [changes, state.mode || "direct"]));
}

/** The changes that the address names. */
export const changesOf = (state) => state.do.map(readChange).filter(Boolean);

/** Add a change to the address, and look at it. */
export function change({ state, go }, spelt) {
  go({ do: [...state.do.filter((one) => readChange(one)?.node !== readChange(spelt).node), spelt], run: "" });
  setTimeout(() => document.querySelector(".whatif")?.scrollIntoView({ block: "nearest" }), 50);
}

export function whatIf(context, graph, notes) {
  const { state, go } = context;
  const changes = changesOf(state);
  const can = hasModel(context);
  const clear = () => {
    delete context.local.live?.run;
    go({ do: [], run: "", paint: ["what-if", "effect"].includes(state.paint) ? "influence" : state.paint });
  };
  return h("section.whatif", { key: "whatif" },
    h("h2", {}, "What if ", changes.length ? h("button.small", { onclick: clear }, "clear") : h("small", {}, "features were off, weaker, stronger")),
    can ? editor(context, graph, changes, notes) : changes.length ? noModel(context, "Asking needs the live model:") : null,
    standing(context, "run"), standing(context, "dose"),
    isStale(context, changes) ? h("p.warned", { key: "stale", role: "status" }, "The numbers below are of the changes before: run again.") : null,
    outcome(context, graph, answerOf(context), notes, { canSave: !isStale(context, changes) }),
    same(known(context, "dose").body?.change, changes[0]) ? doseCurve(known(context, "dose").answer) : null,
    savedRuns(context, graph),
    can ? effects(context, graph, notes) : null);
}

function editor(context, graph, changes, notes) {
  const { state, go } = context;
  const put = (at, change) => {
    const made = changes.map((one, i) => spell(i === at ? change : one));
    go({ do: made, run: "" }, { isSoft: true });
    if (known(context, "run").answer && change.kind !== "take") run(context, graph);
  };
  const add = (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("node").trim();
    if (!readChange(`${name}*0`)) return context.say("Spell it as 2/350@8, or 2/350 for every position.");
    event.target.reset();
    return go({ do: [...state.do, `${name}*0`], run: "" });
  };
  return [
    h("ul.plain", { key: "changes" }, changes.map((change, i) => changeLine(context, change, (made) => put(i, made), notes, () => go({ do: changes.filter((_, at) => at !== i).map(spell), run: "" })))),
    h("form.tools", { key: "add", onsubmit: add }, h("input", { name: "node", "aria-label": "Feature to change", placeholder: "2/350@8, or 2/350" }), h("button", {}, "Add")),
    changes.length ? h("p.tools", { key: "run" },
      h("button.primary", { onclick: () => run(context, graph) }, "Run"),
      changes.length === 1 && changes[0].kind !== "take" ? h("button", { onclick: () => ask(context, "dose", "dose", { key: graph.prompt.key, change: changes[0], mode: state.mode || "direct" }) }, "Dose curve") : null,
      h("select", { "aria-label": "What is held", value: state.mode, onchange: (event) => go({ mode: event.target.value, run: "" }) }, MODES.map(([value, name]) => h("option", { key: value, value }, name)))) : null,
    h("datalist", { key: "prompts", id: "prompt-ids" }, (context.local.list ?? []).slice(0, 500).map((id) => h("option", { key: id, value: id }))),
  ];
}

function changeLine({ local }, change, put, notes, drop) {
  const { node, kind } = change;
  const label = notes?.get(featureOf(node));
  const amount = (props) => h("input", { key: props.type, step: "any", value: String(change.value), "aria-label": `${props.type === "range" ? "Strength" : "Value"} of ${node}`, oninput: (event) => event.target.value !== "" && put({ ...change, value: Number(event.target.value) }), ...props });
  const turn = (event) => put({ node, kind: event.target.value, value: kind === "take" ? 0 : change.value, from: local.list?.find((id) => id !== local.graphOf) ?? "", at: null });
  return h("li", { key: node },
    h("code", {}, node), label ? h("bdi.soft", {}, clip(label, 20)) : null,
    h("select", { "aria-label": `Operation on ${node}`, value: kind, onchange: turn },
      h("option", { value: "scale" }, "×"), h("option", { value: "set" }, "="), node.includes("@") ? h("option", { value: "take" }, "as on") : null),
    kind === "scale" ? amount({ type: "range", min: 0, max: 4, step: 0.05 }) : null,
    kind === "take" ? [
      h("input", { key: "from", list: "prompt-ids", value: change.from, "aria-label": `Prompt that ${node} is taken from`, placeholder: "prompt", onchange: (event) => put({ ...change, from: event.target.value }) }),
      h("input", { key: "at", type: "number", min: 0, value: change.at ?? "", "aria-label": "Position there", title: "Position there; empty: the same one from the end", placeholder: "same", onchange: (event) => put({ ...change, at: event.target.value === "" ? null : Number(event.target.value) }) }),
    ] : amount({ type: "number" }),
    h("button.small", { "aria-label": `Remove ${node}`, onclick: drop }, "×"));
}

/** Ask what the changes of the address do. */
async function run(context, graph) {
  const { state } = context;
  const found = await ask(context, "run", "run", { key: graph.prompt.key, changes: changesOf(context.state), mode: state.mode || "direct" });
  if (found) context.go({ paint: "what-if", run: "" }, { isSoft: context.state.paint === "what-if" });
}
