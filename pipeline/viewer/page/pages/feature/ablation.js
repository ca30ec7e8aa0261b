// The feature ablated on prompts of a group, in the live model: the median effect with its spread, beside that of a
// random feature of its layer on the same prompts.

import { h } from "viewer/elements.js";
import { ask, hasModel, known, noModel, standing } from "viewer/live.js";
import { signedBar } from "viewer/parts/histogram.js";
import { firstOf, heads } from "viewer/parts/table.js";
import { clip, count, plural, share, short } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

const FIRST = 12;

export function ablation(context, feature, groups) {
  const { answer } = known(context, "ablate");
  const run = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    ask(context, "ablate", "ablate", { feature, group: given.get("group") || null, count: Number(given.get("count")) });
  };
  return [h("h2", {}, "Ablate it"),
    hasModel(context) ? h("form.tools", { onsubmit: run },
      h("label", {}, "on ", h("input", { name: "count", type: "number", min: 1, max: 200, value: 20 }), " prompts of "),
      h("select", { name: "group", "aria-label": "Group of prompts" }, h("option", { value: "" }, "all groups"), groups.map(([name, n]) => h("option", { key: name, value: name }, `${clip(name || "(none)", 30)} (${count(n)})`))),
      h("button.primary", {}, "Run")) : noModel(context, "Ablating it needs the live model:"),
    standing(context, "ablate"),
    answer ? shown(context, answer, feature) : null];
}

const spread = (found) => (found ? h("span", {}, h("b", {}, short(found.middle, 3)), ` (quartiles ${short(found.low)} to ${short(found.high)})`) : "–");

function shown(context, answer, feature) {
  const { state } = context;
  const rows = [...answer.rows].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const most = Math.max(1e-9, ...rows.flatMap((row) => [Math.abs(row.effect), Math.abs(row.random ?? 0)]));
  const [listed, more] = firstOf(context, "ablations", rows, FIRST);
  return h("div", { key: "ablated" },
    h("p", {}, `On ${plural(rows.length, "prompt")} of ${count(answer.active)} where it is active, by lot: median effect `, spread(answer.median), " on the answer's logit less the mean of all; a random active feature of its layer: ", spread(answer.random), "."),
    h("div.scroll", {}, h("table.tight", {},
      heads("prompt", "answer", "#before", "#after", "effect", "#random one"),
      h("tbody", {}, listed.map((row) => h("tr", { key: row.id },
        h("th", { scope: "row" }, h("a", { href: link(state, "graph", row.id, { do: [`${feature}*0`] }) }, h("bdi", {}, clip(row.id, 26)))),
        h("td", {}, h("bdi.chip", {}, clip(row.target, 16))),
        h("td.number", {}, share(row.before)), h("td.number", {}, share(row.after)),
        h("td", {}, h("span.cell", {}, signedBar(row.effect, most, 44), short(row.effect))),
        h("td.number.soft", {}, row.random === null ? "–" : short(row.random))))))),
    more);
}
