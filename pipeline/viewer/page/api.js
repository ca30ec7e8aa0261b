// Answers: from the server, or from the data that an exported file carries. What was answered is kept, since a page
// is of one fixed state of the tables.

import { exportedAnswer, isExported } from "viewer/exported.js";
import { unpack } from "viewer/packed.js";
import { Refused } from "viewer/refused.js";

export { isExported, Refused };

const KEPT = 60;
const kept = new Map();
let stateName = "";
let at = "";

/** Ask from now on for this state of the tables: its name, or a version or date. */
export function ofState(name, moment) {
  if (name !== stateName || moment !== at) kept.clear();
  [stateName, at] = [name, moment];
}

/** An empty parameter asks for nothing, but a facet's for the prompts without a value. */
const isGiven = (name, value) => value !== null && value !== undefined && (value !== "" || name.startsWith("is."));

/** GET as JSON. Parameters that are empty are left out; a list is repeated. */
export const get = (path, params = {}, signal) => asked(path, params, signal, (answer) => answer.json());

/** GET as packed arrays. */
export const getPacked = (path, params = {}, signal) =>
  asked(path, params, signal, async (answer) => unpack(await answer.arrayBuffer()));

export const post = (path, body) => sent("POST", path, body);
export const remove = (path) => sent("DELETE", path);

/** Spell a path's part: a prompt's id may hold anything. */
export const part = (name) => encodeURIComponent(String(name).toWellFormed());

/** The address of an answer, for links that save it. */
export function urlOf(path, params = {}) {
  const query = new URLSearchParams();
  const isOf = "at" in params ? {} : at ? { at } : stateName ? { state: stateName } : {};
  for (const [name, value] of Object.entries({ ...params, ...isOf })) {
    for (const one of [value].flat()) if (isGiven(name, one)) query.append(name, one);
  }
  return query.size ? `${path}?${query}` : path;
}

async function asked(path, params, signal, read) {
  const url = urlOf(path, params);
  if (isExported) return read(await exportedAnswer(path, params));
  if (kept.has(url)) return kept.get(url);
  const answer = await reached(() => fetch(url, { signal }));
  if (!answer.ok) throw await refusal(answer);
  const found = await read(answer);
  kept.set(url, found);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return found;
}

async function sent(method, path, body) {
  if (isExported) throw new Refused({ message: "an exported page has no server.", way_out: "Run `circuit-sweep view` on the output." });
  const answer = await reached(() =>
    fetch(path, { method, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) }),
  );
  if (!answer.ok) throw await refusal(answer);
  kept.clear();
  const kind = answer.headers.get("Content-Type") ?? "";
  if (kind.startsWith("application/octet-stream")) return unpack(await answer.arrayBuffer());
  return kind.startsWith("application/json") ? answer.json() : null;
}

async function reached(ask) {
  try {
    return await ask();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ message: "the server does not answer.", way_out: "Is `circuit-sweep view` still running? What is here stays usable." });
  }
}

async function refusal(answer) {
  try {
    return new Refused((await answer.json()).error, answer.status);
  } catch {
    return new Refused({ message: `the server answered ${answer.status} ${answer.statusText}.` }, answer.status);
  }
}
