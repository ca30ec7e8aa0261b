// What stands around every page: where one is, the search box, the theme.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { searchBox } from "viewer/parts/search.js";
import { clip, plural } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

const PAGES = [
  ["overview", "Overview"],
  ["prompts", "Prompts"],
  ["features", "Features"],
  ["circuit", "Circuits"],
  ["diff", "Compare"],
  ["trace", "Trace"],
  ["sql", "SQL"],
  ["notes", "Notes"],
];
const UNDER = { graph: "prompts", feature: "features", failures: "overview" };
const LIVE = new Set(["trace", "sql", "notes"]); // not in an exported file

export function frame(context, children) {
  const { state } = context;
  const pages = PAGES.filter(([page]) => !api.isExported || !LIVE.has(page));
  const main = h("main", { id: "main", tabindex: -1, class: `page-${state.page}` }, children);
  const said = h("div.said", { role: "status", "aria-live": "polite", class: context.said ? "is-shown" : "" }, context.said);
  if (state.embed) return [main, said];
  return [
    h("a.skip", { href: "#main", onclick: (event) => toMain(event) }, "Skip to the page"),
    h("header.frame", {},
      h("a.brand", { href: link(state, "overview") }, logo(), h("span", {}, "Circuit Sweep")),
      h("nav", { "aria-label": "Pages" }, pages.map(([page, name]) =>
        h("a", { key: page, href: link(state, page), "aria-current": state.page === page ? "page" : UNDER[state.page] === page ? "true" : null }, name))),
      searchBox(context),
      h("button.icon", { title: "Light or dark", "aria-label": "Light or dark", onclick: () => turn(context) }, "◐"),
      h("a.icon", { href: link(state, "help"), title: "Keys and help (?)", "aria-label": "Keys and help" }, "?"),
      context.sweep ? stateLine(context) : null,
    ),
    main,
    said,
  ];
}

function stateLine({ sweep, state, news, refresh, go }) {
  const opened = new Date(sweep.opened).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return h("p.state-line", {},
    h("bdi", { title: sweep.url }, clip(sweep.name, 60)),
    ` · ${plural(sweep.graphs, "graph")} · `,
    state.at ? `at version or date ${clip(state.at, 30)}` : api.isExported ? `exported ${opened}` : `as of ${opened}`,
    state.at ? h("button.small", { onclick: () => go({ at: "" }) }, "back to now") : null,
    news > 0 ? h("button.small", { onclick: refresh }, `${plural(news, "new graph")}: show`) : null,
  );
}

function toMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function turn({ state, go, colors }) {
  const isDark = colors.ground === "#131816";
  go({ ...state, theme: isDark ? "light" : "dark" });
}

function logo() {
  const line = (d) => h("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 1.6 });
  const dot = (cx, cy) => h("circle", { cx, cy, r: 2.4, fill: "currentColor" });
  return h("svg", { viewBox: "0 0 22 22", width: 22, height: 22, "aria-hidden": "true" },
    line("M4 18C4 10 11 14 11 4"), line("M18 18C18 10 11 14 11 4"), line("M11 18V4"), dot(4, 18), dot(11, 18), dot(18, 18), dot(11, 4));
}
