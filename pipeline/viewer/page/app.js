// The frame around the pages: reads the address, has the page's data loaded, draws, dispatches keys.
//
// A page is a module with `title(state)`, `needs(state)` (what its data depends on, as text), `load(state)` and
// `draw(context)`; and, if it wants, `keys`, `enter(context)` and `leave(context)`. It draws from the state and its
// data, and asks for other states by `context.go`; only this module touches the address.

import * as api from "viewer/api.js";
import { h, patch } from "viewer/elements.js";
import { frame } from "viewer/frame.js";
import { DARK, LIGHT } from "viewer/graph/look.js";
import { pressed } from "viewer/keys.js";
import { PAGE_MODULES } from "viewer/pages/all.js";
import { parse, spell } from "viewer/state.js";
import { trouble } from "viewer/parts/trouble.js";

const root = document.getElementById("app");
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

const context = {
  state: parse(location.hash),
  data: null,
  sweep: null,
  error: null,
  busySince: 0,
  news: 0,
  said: "",
  local: {},
  colors: LIGHT,
  go,
  draw,
  say,
  reload,
  refresh,
};
let needed = null;
let loading = null;

/** Change the state. `isSoft` changes (sliders) reach the address when they rest, and no history. */
function go(changes, { isSoft = false, isNew = false } = {}) {
  const before = context.state;
  const state = isNew ? { ...parse(spell(changes)), at: before.at, theme: before.theme, embed: before.embed } : { ...before, ...changes };
  context.state = state;
  clearTimeout(go.waiting);
  if (isSoft) go.waiting = setTimeout(() => history.replaceState(null, "", spell(context.state)), 250);
  else if (spell(state) !== location.hash) history.pushState(null, "", spell(state));
  arrive();
}

/** Load what the state needs that is not there yet, and draw. */
async function arrive() {
  setTheme();
  const { state } = context;
  const page = PAGE_MODULES[state.page];
  const needs = JSON.stringify([state.page, state.at, context.sweep?.state, page.needs(state)]);
  if (needs === needed) return draw();
  if (context.page && context.page !== page) context.page.leave?.(context);
  if (context.page !== page) [context.local, context.data] = [{}, null];
  Object.assign(context, { page, error: null, busySince: Date.now() });
  needed = needs;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  setTimeout(() => !signal.aborted && context.busySince && draw(), 300);
  try {
    if (!context.sweep || context.sweepAt !== state.at) await loadSweep(state.at);
    const data = await page.load(state, { signal, sweep: context.sweep });
    if (signal.aborted) return undefined;
    context.data = data;
    page.enter?.(context);
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof api.Refused)) console.error(error);
    context.error = error;
  }
  context.busySince = 0;
  document.title = `${page.title(context.state)} · ${context.sweep?.name ?? "Circuit Sweep"}`;
  return draw();
}

async function loadSweep(at) {
  api.ofState("", at);
  context.sweep = await api.get("/api/sweep");
  context.sweepAt = at;
  api.ofState(context.sweep.state, at);
  needed = JSON.stringify([context.state.page, at, context.sweep.state, PAGE_MODULES[context.state.page].needs(context.state)]);
}

/** Load again what the page shows, such as after a note was written. */
function reload() {
  needed = null;
  return arrive();
}

/** Open the state that a running sweep has reached. */
async function refresh() {
  await api.post("/api/refresh", {});
  Object.assign(context, { sweep: null, news: 0 });
  reload();
}

function setTheme() {
  const isDark = context.state.theme ? context.state.theme === "dark" : systemDark.matches;
  context.colors = isDark ? DARK : LIGHT;
  const style = document.documentElement.style;
  for (const [name, color] of Object.entries(context.colors)) style.setProperty(`--${name}`, color);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  style.setProperty("color-scheme", isDark ? "dark" : "light");
}

function draw() {
  if (draw.isAsked) return;
  draw.isAsked = true;
  requestAnimationFrame(() => {
    draw.isAsked = false;
    const { page, error, data } = context;
    const isReady = data !== null && !(error && error.status !== 0);
    patch(root, frame(context, [
      error ? trouble(error, context) : null,
      isReady && page ? page.draw(context) : error ? null : busy(),
    ]));
  });
}

function busy() {
  const waited = context.busySince ? Date.now() - context.busySince : 0;
  if (waited > 250) setTimeout(() => context.busySince && draw(), 1000);
  return h("p.busy", { role: "status" }, waited > 250 ? `${context.page?.waits ?? "Asking the tables …"} ${waited > 1000 ? `${Math.floor(waited / 1000)} s ` : ""}` : "",
    waited > 1000 ? h("button.small", { onclick: () => history.back() }, "cancel") : null);
}

/** Say a line to screen readers and at the foot of the page. */
function say(line) {
  context.said = line;
  clearTimeout(say.fading);
  say.fading = setTimeout(() => {
    context.said = "";
    draw();
  }, 6000);
  draw();
}

async function askForNews() {
  if (api.isExported || context.state.at || !context.sweep || document.hidden) return;
  try {
    const { new_graphs: fresh } = await api.get(`/api/news`, { now: Date.now() });
    if (fresh !== context.news) {
      context.news = fresh;
      draw();
    }
  } catch {
    // The next question that matters says that the server is gone.
  }
}

window.addEventListener("hashchange", () => {
  context.state = parse(location.hash);
  arrive();
});
window.addEventListener("popstate", () => {
  context.state = parse(location.hash);
  arrive();
});
window.addEventListener("keydown", (event) => pressed(event, context));
systemDark.addEventListener("change", () => arrive());
setInterval(askForNews, 15_000);
arrive();
