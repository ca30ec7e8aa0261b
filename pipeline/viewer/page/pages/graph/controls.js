// What stands above the drawing: the prompt, its scores and verdict, the sliders and what they hide.

import { h } from "viewer/elements.js";
import * as actions from "viewer/pages/graph/actions.js";
import { verdictChip } from "viewer/pages/prompts.js";
import { tokenRow } from "viewer/parts/tokens.js";
import { clip, count, percent, share } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

/** Name, text, answer, neighbours in the list. */
export function heading(context, graph) {
  const { state, local, go } = context;
  const { prompt, targets, prediction } = graph;
  const influence = new Array(prompt.tokens.length).fill(0);
  for (let node = 0; node < graph.count; node++) if (graph.kind[node] === 2) influence[graph.position[node]] = graph.influence[node];
  const to = (id, name, key) => (id ? h("a.button", { key: name, href: link(state, "graph", id, { list: state.list }), title: `${clip(id, 40)} (${key})` }, name) : null);
  return h("div.graph-head", {},
    h("h1", {}, h("bdi", {}, clip(prompt.id, 80))),
    h("p.prompt-text", {}, tokenRow(prompt.tokens, { values: influence, limit: 120 }), h("span.arrow", {}, "→"),
      targets.slice(0, 4).map((target, i) => h("span", { key: i }, h("bdi.chip.target", {}, clip(target.label, 24)), " ", share(target.probability), " "))),
    targets.length > 4 ? h("span.soft", {}, `and ${targets.length - 4} more targets`) : null,
    prediction.correct === false ? h("span.bad", {}, `✗ wrong: the answer is ${clip(prediction.answer, 24)}`) : prediction.correct ? h("span.good", {}, "✓ right") : null,
    h("span.tools", {},
      to(local.before, "‹ previous", "k"), to(local.after, "next ›", "j"),
      h("button", { onclick: () => actions.share(context) }, "Share"),
      h("button", { onclick: () => actions.picture(context, "svg") }, "SVG"),
      h("button", { onclick: () => actions.picture(context, "png") }, "PNG"),
      h("button", { onclick: () => go({ table: !state.table }), "aria-pressed": String(state.table) }, "Table"),
      h("button", { onclick: () => go({ full: !state.full }), "aria-pressed": String(state.full) }, "Full")));
}

/** Scores of the graph, and what the model itself says about it. */
export function scores({ sweep }, { scores: found, verdict }) {
  const score = (name, value, meaning) => h("span.score", { key: name, title: meaning }, name, " ", h("b", {}, share(value)));
  return h("div.scores", {},
    score("replacement", found.replacement_score, "Share of the influence on the answer that comes through features, not errors"),
    score("completeness", found.completeness_score, "Share of the inputs of what matters that is not error"),
    verdict ? faithfulness(verdict) : sweep.missing?.faithfulness
      ? h("span.soft", { title: sweep.missing.faithfulness }, "not tested in the model (", h("code", {}, sweep.missing.faithfulness), ")") : null);
}

function faithfulness(verdict) {
  const { necessity, necessity_null: chance, necessity_rank: rank, sufficiency, sufficiency_null: keptByChance, draws, spearman } = verdict;
  return h("details.verdict", {},
    h("summary", {}, verdictChip(verdict.verdict), ` rank ${rank ?? "–"} of ${draws + 1} · keeps ${share(sufficiency)} (random ${share(keptByChance)}) · influence~effect ${share(spearman)} `,
      h("span.link", {}, "why")),
    h("div.why", {},
      h("p", {}, `Taking the circuit's features away changes the answer by ${share(necessity)} of what is at stake; sets of as many random features, of the same sizes, change it by ${share(chance)}. `,
        `Of ${draws + 1} sets the circuit ranks ${rank ?? "–"}; over all tested graphs its q-value is ${share(verdict.necessity_q)}.`),
      h("p", {}, `With only the circuit's ${verdict.circuit_features ?? "–"} features left, ${share(sufficiency)} of the answer stays; with random sets ${share(keptByChance)}.`),
      h("p", {}, `Over ${verdict.ablations ?? "–"} single ablations, influence and measured effect agree with a rank correlation of ${share(spearman)}; `,
        `simpler rankings: write norm ${share(verdict.spearman_write_norm)}, direct edge ${share(verdict.spearman_direct_edge)}, gradient ${share(verdict.spearman_gradient)}.`)));
}

/** Sliders: what they let through, and what they hide, is always said. */
export function sliders({ state, go }, graph, shown, { hasEffects = false, extra = null } = {}) {
  const c = shown.counts;
  const slide = (name) => (event) => go({ [name]: Number(event.target.value) }, { isSoft: true });
  const sent = graph.counts?.edges_sent ?? graph.edgeCount;
  const stored = graph.counts?.kept_edges ?? sent;
  const paints = [["influence", "influence"], ["activation", "activation"], ["stability", "stability"], ...(hasEffects || state.paint === "effect" ? [["effect", "measured effect"]] : []), ...(state.do?.length || state.paint === "what-if" ? [["what-if", "what-if"]] : []), ["none", "nothing"]];
  return h("div.sliders", {},
    h("label", {}, "nodes ", h("input", { type: "range", min: 0, max: 1, step: 0.005, value: state.n, oninput: slide("n"), "aria-valuetext": `${c.nodes} of ${c.allNodes} nodes` }),
      h("output", {}, `${count(c.nodes)} of ${count(c.allNodes)}`)),
    h("label", {}, "edges ", h("input", { type: "range", min: 0, max: 1, step: 0.005, value: state.e, oninput: slide("e"), "aria-valuetext": `${c.edges} of ${c.allEdges} edges` }),
      h("output", {}, `${count(c.edges)} of ${count(c.allEdges)}`)),
    h("span.hidden-count", {}, c.nodes < c.allNodes || c.edges < c.allEdges
      ? `hidden: ${count(c.allNodes - c.nodes)} nodes with ${percent(1 - c.influence)} of the influence, ${count(c.allEdges - c.edges)} edges with ${percent(1 - c.score)} of the score`
      : "nothing hidden"),
    sent < stored ? h("span.warned", {}, `the strongest ${count(sent)} of ${count(stored)} edges are here: ${percent(graph.counts.score_sent / graph.counts.score)} of the score`,
      h("button.small", { onclick: () => go({ all: true }) }, "all")) : null,
    h("label", {}, h("input", { type: "checkbox", checked: state.errors, onchange: (event) => go({ errors: event.target.checked }) }), " errors"),
    "repack" in state ? h("label", { title: "Lay out again only what is left" }, h("input", { type: "checkbox", checked: state.repack, onchange: (event) => go({ repack: event.target.checked, box: [] }) }), " repack") : null,
    h("label", {}, "paint ", h("select", { value: state.paint, onchange: (event) => go({ paint: event.target.value }) },
      paints.map(([value, name]) => h("option", { key: value, value }, name)))),
    ["effect", "what-if"].includes(state.paint) ? h("span.soft", {}, "○ more, ⊖ less") : null,
    extra);
}
