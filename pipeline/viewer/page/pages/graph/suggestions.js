// Supernodes that mining found among this graph's features, offered until somebody takes them.

import { h } from "viewer/elements.js";
import { spellGroup } from "viewer/graph/groups.js";
import { share } from "viewer/parts/text.js";

export function suggestions({ state, go }, graph) {
  const mined = new Map();
  for (const row of graph.supernodes ?? []) {
    const name = `${row.layer}/${row.feature}`;
    if (!mined.has(row.supernode)) mined.set(row.supernode, { members: [], stability: row.stability, similarity: row.similarity });
    mined.get(row.supernode).members.push(name);
  }
  const offered = [...mined.entries()].filter(([, { members }]) => members.length > 1);
  if (!offered.length) return null;
  const take = (number, members) => go({ group: [...state.group, spellGroup({ name: `supernode ${number}`, members })] });
  return h("details.suggestions", { key: "suggestions" },
    h("summary", {}, `Suggested supernodes (${offered.length})`),
    h("ul.plain", {}, offered.slice(0, 12).map(([number, { members, similarity, stability }]) =>
      h("li", { key: number }, h("code", {}, members.slice(0, 8).join(", ")), h("span.soft", {}, ` alike ${share(similarity)}, stable ${share(stability)} `),
        h("button.small", { onclick: () => take(number, members) }, "take")))));
}
