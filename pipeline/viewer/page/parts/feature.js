// What is known of a feature: a summary for the graph's panel, and the parts that the feature's own page shares.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { ask, hasModel, known, noModel, standing } from "viewer/live.js";
import { histogram } from "viewer/parts/histogram.js";
import { tokenRow } from "viewer/parts/tokens.js";
import { clip, number, plural } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

let isAsked = false; // the model is loaded once somebody wants it

/** Histogram, examples and promoted tokens, asked for when the feature is first looked at. */
export function featureSummary(context, feature) {
  const { local, draw, state } = context;
  const held = (local.features ??= new Map());
  if (!held.has(feature)) {
    held.set(feature, null);
    api.get(`/api/feature/${feature}`).then((found) => held.set(feature, found), (error) => held.set(feature, { error })).then(draw);
  }
  const found = held.get(feature);
  if (!found) return h("p.busy", {}, "Asking for the feature …");
  if (found.error) return h("p.soft", {}, found.error.message);
  return h("div.summary", { key: feature },
    h("h3", {}, "Over all prompts ", h("small", {}, plural(found.stats?.prompts ?? 0, "prompt"))),
    activations(found),
    promotedOf(context, feature),
    h("ul.plain.examples", {}, examplesOf(found).slice(0, 4).map((example, i) => exampleLine(state, example, i))),
    h("p", {}, h("a", { href: link(state, "feature", feature) }, "all about it →")));
}

export function activations(found) {
  const made = found.histogram;
  if (!made?.counts?.length) return null;
  return h("p.cell", {}, h("span.soft", {}, "activation"), histogram(made.counts, { from: made.from ?? 0, to: made.to ?? 1, width: 180, height: 34, label: "Histogram of activations" }), h("span.soft", {}, `max ${number(made.to)}`));
}

/** Tokens that a feature promotes and suppresses: asked of the live model on a click, and for other features from then on. */
export function promotedOf(context, feature) {
  if (!hasModel(context)) return noModel(context, "The tokens that it promotes need the live model:");
  const name = `promoted ${feature}`;
  const { answer, failed, since } = known(context, name);
  const start = () => {
    isAsked = true;
    ask(context, name, "promoted", { feature });
  };
  if (!answer && !failed && !since && isAsked) queueMicrotask(start);
  if (!answer) return standing(context, name) ?? h("p", { key: name }, h("button", { onclick: start }, "Tokens that it promotes"), h("span.soft", {}, " from the live model"));
  const list = (what, tokens) => h("p.promoted", { key: what }, h("span.soft", {}, what), " ", tokens.map((token, i) => [i ? " " : "", h("bdi.chip", { key: i }, clip(token, 18))]));
  return [list("promotes", answer.promotes), list("suppresses", answer.suppresses)];
}

export const examplesOf = (found) => (found.examples ?? []).flatMap((band) => band.examples);

export function exampleLine(state, example, key) {
  return h("li", { key },
    h("a", { href: link(state, "graph", example.id, { sel: example.node ? [example.node] : [] }), title: clip(example.id, 80) },
      tokenRow(example.tokens, { values: example.activations, peak: example.position, limit: 60 })),
    h("span.soft", {}, ` ${number(example.activation)}`));
}
