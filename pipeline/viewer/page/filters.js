// What the server's SQL does with prompts and features, for a page without one: words, features, facets and order over
// the rows that an exported page carries. The same question gives the same rows.

import { Refused } from "viewer/refused.js";

const SHOWN = 50; // values of a facet
const FOUND = 20;

/** Rows of `/api/prompts` that fit, in order, counted by facet. */
export function promptsOf(all, { where, q = "", sort = "id", ...others }, keepers) {
  if (where || /^\s*where:/i.test(q)) {
    throw new Refused({ message: "an exported page has no SQL.", way_out: "Filter by words, a feature or the boxes, or run `circuit-sweep view` on the output." });
  }
  const tests = [...wordTests(q.trim(), keepers), ...Object.entries(others).filter(([name]) => name.startsWith("is.")).map(([name, values]) => facetTest(all, name.slice(3), [values].flat()))];
  const rows = all.rows.filter((row) => tests.every((test) => test(row)));
  const [name, down] = sort.startsWith("-") ? [sort.slice(1), true] : [sort, false];
  rows.sort((a, b) => inOrder(a[name], b[name], down) || (BigInt(a.prompt_key) < BigInt(b.prompt_key) ? -1 : 1));
  return { rows, after: null, total: rows.length, facets: Object.fromEntries(Object.keys(all.facets).map((facet) => [facet, counted(rows, facet)])) };
}

function* wordTests(text, keepers) {
  if (keepers) {
    const [, feature, position] = /^(\d+\/\d+)(?:@(-?\d+))?$/.exec(text) ?? [];
    if (feature) {
      const keys = keepers(feature, position);
      yield (row) => keys.has(row.prompt_key);
      return;
    }
  }
  for (const [number, part] of text.split('"').entries()) {
    for (const word of number % 2 ? [part] : part.split(/\s+/)) {
      const lower = word.toLowerCase();
      if (lower) yield (row) => row.text.toLowerCase().includes(lower) || row.id.toLowerCase().includes(lower);
    }
  }
}

const spelt = (value) => (value === null || value === undefined ? "" : String(value));

function facetTest(all, name, values) {
  if (all.rows.length && !(name in all.rows[0])) throw new Refused({ message: `there is no column ${name}.` });
  return (row) => values.includes(spelt(row[name]));
}

function inOrder(a, b, down) {
  const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
  if (noA || noB) return noA - noB; // whichever way, what is missing comes last
  return a === b ? 0 : (a < b) === down ? 1 : -1;
}

function counted(rows, facet) {
  const counts = new Map();
  for (const row of rows) counts.set(spelt(row[facet]), (counts.get(spelt(row[facet])) ?? 0) + 1);
  return [...counts].sort(([x, n], [y, m]) => m - n || (x < y ? -1 : 1)).slice(0, SHOWN);
}

/** A function from a feature, and a position if one is asked for, to the keys of the prompts that keep it. */
export function featureIndex(namesOf) {
  const byName = new Map();
  for (const [key, names] of Object.entries(namesOf)) {
    for (const name of names) {
      for (const one of [name, name.split("@")[0]]) {
        if (!byName.has(one)) byName.set(one, new Set());
        byName.get(one).add(key);
      }
    }
  }
  return (feature, position) => byName.get(position === undefined ? feature : `${feature}@${position}`) ?? new Set();
}

/** Rows of `/api/features` whose number or label fits, in order. */
export function featuresOf(all, { q = "", sort = "influence" }) {
  const lower = q.trim().toLowerCase();
  const rows = all.rows.filter((row) => `${row.layer}/${row.feature}`.includes(lower) || (row.label ?? "").toLowerCase().includes(lower));
  const first = { influence: () => 0, support: (a, b) => b.prompts - a.prompts, label: (a, b) => inOrder(a.label, b.label, false) }[sort];
  if (!first) throw new Refused({ message: `features have no order ${sort}.` });
  return { rows: rows.sort((a, b) => first(a, b) || b.influence - a.influence || a.layer - b.layer || a.feature - b.feature) };
}

/** What a few letters name, of what the page carries. */
export function found(text = "", prompts, features) {
  const lower = text.trim().toLowerCase();
  if (!lower) return { prompts: [], features: [], tokens: [] };
  const hits = prompts.rows.filter((row) => row.id.toLowerCase().includes(lower) || row.text.toLowerCase().includes(lower));
  const rank = ({ id }) => (id === text.trim() ? 0 : id.toLowerCase().startsWith(lower) ? 1 : 2);
  return {
    prompts: hits.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1)).slice(0, FOUND),
    features: /^\d+\/\d*/.test(lower) ? features.rows.filter((row) => `${row.layer}/${row.feature}`.startsWith(lower.split("@")[0])).slice(0, FOUND) : [],
    tokens: [],
  };
}
