// What would happen if features were off, weaker, stronger: asked of the live model, shown beside what edges predict.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { command } from "viewer/parts/command.js";
import { doseCurve } from "viewer/parts/dose.js";
import { clip, count, share, signed } from "viewer/parts/text.js";

/** A change is spelt `1/484@8*0` (times), `1/484@8=3` (set), the feature without position for everywhere. */
export function readChange(text) {
  const match = /^(\d+\/\d+)(@-?\d+)?([*=])(-?[\d.eE+-]+)$/.exec(text);
  return match ? { node: match[1] + (match[2] ?? ""), kind: match[3] === "*" ? "scale" : "set", value: Number(match[4]) } : null;
}

const spell = ({ node, kind, value }) => `${node}${kind === "scale" ? "*" : "="}${value}`;

export function whatIf(context, graph, notes) {
  const { state, go, sweep } = context;
  if (!state.do.length) return null;
  const changes = state.do.map(readChange).filter(Boolean);
  const put = (at, change) => go({ do: state.do.map((one, i) => (i === at ? spell(change) : one)) }, { isSoft: true });
  if (api.isExported || sweep.can?.model === false) {
    return h("section.whatif", { key: "whatif" }, h("h2", {}, "What if"), h("p.empty", {}, "This page has no live model: ", command(`circuit-sweep view ${sweep.url}`)));
  }
  return h("section.whatif", { key: "whatif" },
    h("h2", {}, "What if ", h("button.small", { onclick: () => go({ do: [], paint: "influence" }) }, "clear")),
    h("ul.plain", {}, changes.map((change, i) => changeLine(change, i, put, notes, () => go({ do: state.do.filter((_, at) => at !== i) })))),
    h("p.tools", {},
      h("button.primary", { onclick: () => run(context, graph, changes) }, "Run"),
      changes.length === 1 && changes[0].kind === "scale" ? h("button", { onclick: () => dose(context, graph, changes[0]) }, "Dose curve") : null,
      h("select", { "aria-label": "What is held", value: state.mode || "", onchange: (event) => go({ mode: event.target.value }) },
        h("option", { value: "" }, "attention held"), h("option", { value: "full" }, "nothing held"), h("option", { value: "replacement" }, "replacement model"))),
    answerOf(context, graph));
}

function changeLine(change, i, put, notes, drop) {
  const label = notes?.get(change.node.split("@")[0]);
  return h("li", { key: change.node },
    h("code", {}, change.node), label ? h("bdi.soft", {}, clip(label, 20)) : null,
    h("select", { "aria-label": `Operation on ${change.node}`, value: change.kind, onchange: (event) => put(i, { ...change, kind: event.target.value }) },
      h("option", { value: "scale" }, "×"), h("option", { value: "set" }, "=")),
    h("input", { type: "number", step: "any", value: String(change.value), "aria-label": `Value for ${change.node}`, oninput: (event) => event.target.value !== "" && put(i, { ...change, value: Number(event.target.value) }) }),
    h("button.small", { "aria-label": `Remove ${change.node}`, onclick: drop }, "×"));
}

async function asked(context, name, path, body) {
  const { local, draw, state } = context;
  const question = JSON.stringify(body);
  Object.assign(local, { running: { name, question, since: Date.now() }, failed: null });
  draw();
  const ticking = setInterval(draw, 1000);
  try {
    const found = await api.post(path, body);
    if (local.running?.question === question && context.state.key === state.key) Object.assign(local, { [name]: found });
  } catch (error) {
    if (local.running?.question === question) local.failed = error;
  }
  clearInterval(ticking);
  if (local.running?.question === question) local.running = null;
  draw();
}

async function run(context, graph, changes) {
  await asked(context, "answer", "/api/live/run", { key: graph.prompt.key, changes, mode: context.state.mode || "direct" });
  const { answer } = context.local;
  if (answer?.activations) {
    context.local.changes = new Map(answer.activations.map((row) => [row.node ?? `${row.layer}/${row.feature}@${row.position}`, row.after - row.before]));
    context.go({ paint: "what-if" });
  }
}

const dose = (context, graph, change) =>
  asked(context, "dose", "/api/live/dose", { key: graph.prompt.key, change, mode: context.state.mode || "direct" });

function answerOf({ local, draw }) {
  const { running, failed, answer, dose: curve } = local;
  const forget = () => {
    local.running = null;
    draw();
  };
  if (running) {
    const seconds = Math.floor((Date.now() - running.since) / 1000);
    return h("p.busy", { role: "status" }, seconds < 1 ? "Asking the model …" : `Asking the model … ${seconds} s; the first question loads it `, seconds >= 1 ? h("button.small", { onclick: forget }, "cancel") : null);
  }
  if (failed) return h("p.bad", { role: "alert" }, failed.message, " ", failed.wayOut ?? "");
  return [answer ? beforeAfter(answer) : null, curve ? doseCurve(curve) : null];
}

function beforeAfter({ tokens = [], printed, command: line, predicted }) {
  return h("div", { key: "answer" },
    h("table.tight", {},
      h("thead", {}, h("tr", {}, ["answer", "before", "after", "change"].map((name, i) => h("th", { key: name, scope: "col", class: i ? "number" : "" }, name)))),
      h("tbody", {}, tokens.slice(0, 10).map((row, i) => h("tr", { key: i },
        h("th", { scope: "row" }, h("bdi.chip", {}, clip(row.label, 20))), h("td.number", {}, share(row.before)), h("td.number", {}, share(row.after)),
        h("td.number", { class: row.after < row.before ? "minus" : "plus" }, signed(row.after - row.before)))))),
    predicted !== undefined && predicted !== null ? h("p.soft", {}, `The graph's edges predict ${signed(predicted)} for the answer's logit.`) : null,
    printed ?? line ? command(printed ?? line, { isBlock: true }) : null,
    h("p.soft", {}, `${count(tokens.length)} tokens moved most.`));
}
