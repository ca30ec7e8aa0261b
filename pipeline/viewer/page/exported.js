// The answers of an exported page, which has no server: those that it carries, and what follows from them. Large ones
// lie beside it in scripts, each loaded once it is needed: a page that is opened from a disk may read nothing else.

import { featureIndex, featuresOf, found, promptsOf } from "viewer/filters.js";
import { Refused } from "viewer/refused.js";

const embedded = document.getElementById("embedded");
export const isExported = Boolean(embedded);

/** Each answer by its address: its compressed bytes as base64, or the number of the script that has them. */
const carried = embedded ? JSON.parse(embedded.textContent) : null;
const scripts = new Map();
let policy = null;

if (isExported) globalThis.viewerData = (answers) => Object.assign(carried, answers);

const WAY_OUT = "`circuit-sweep view OUTPUT` has everything.";

/** An answer, as `fetch` would give it. */
export async function exportedAnswer(path, params) {
  const given = Object.fromEntries(Object.entries(params).filter(([name, value]) => value !== undefined && value !== null && (String(value) !== "" || name.startsWith("is."))));
  if (path === "/api/prompts") return said(promptsOf(await json(path), given, await kept(given)));
  if (path === "/api/features") return said(featuresOf(await json(path), given));
  if (path === "/api/search") return said(found(given.q, await json("/api/prompts"), await json("/api/features")));
  if (path === "/api/circuit" && given.keys && (await isOfAll(given.keys))) return new Response(await stream(path));
  if (path.startsWith("/api/graph/")) delete given.edges; // it carries those that it has
  const query = new URLSearchParams(given).toString();
  return new Response(await stream(query ? `${path}?${query}` : path));
}

const said = (answer) => new Response(JSON.stringify(answer));

const json = async (name) => new Response(await stream(name)).json();

/** True if these are all prompts of the page, whose circuit it carries. */
async function isOfAll(keys) {
  const inOrder = (text) => text.split(",").sort().join();
  return Object.hasOwn(carried, "/api/circuit") && inOrder(keys) === inOrder((await json("/api/prompts")).rows.map((row) => row.id).join());
}

/** Which prompts keep which features, where a filter asks for it. */
const kept = async ({ q = "" }) => (/^\d+\/\d+/.test(q.trim()) ? featureIndex(await json("/export/features")) : null);

async function stream(name) {
  if (!Object.hasOwn(carried, name)) throw new Refused({ message: "this is not in the exported page.", way_out: WAY_OUT }, 404);
  if (typeof carried[name] === "number") await script(carried[name]);
  const bytes = Uint8Array.from(atob(carried[name]), (letter) => letter.charCodeAt(0));
  return new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
}

function script(number) {
  const address = `data/${number}.js`;
  policy ??= window.trustedTypes?.createPolicy("data", { createScriptURL: (url) => url });
  if (!scripts.has(number)) {
    const loading = new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = policy ? policy.createScriptURL(address) : address;
      element.onload = resolve;
      element.onerror = () => reject(new Refused({ message: `${address} is not beside this page.`, way_out: "Copy the whole folder." }, 404));
      document.head.append(element);
    });
    scripts.set(number, loading);
  }
  return scripts.get(number);
}
