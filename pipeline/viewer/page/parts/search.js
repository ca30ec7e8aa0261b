// The search box: prompts, features, tokens, and commands (Ctrl-K). Arrows choose, Enter goes.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { clip, plural } from "viewer/parts/text.js";
import { link, PAGES } from "viewer/state.js";

const box = { text: "", found: [], chosen: 0, isOpen: false };

export function searchBox(context) {
  const { draw, state } = context;
  const close = () => {
    box.isOpen = false;
    draw();
  };
  const change = (event) => {
    Object.assign(box, { text: event.target.value, isOpen: true, chosen: 0 });
    box.found = commands(context);
    draw();
    clearTimeout(box.waiting);
    box.waiting = setTimeout(() => look(context), 120);
  };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      box.chosen = (box.chosen + step + box.found.length) % Math.max(1, box.found.length);
      draw();
    } else if (event.key === "Enter") open(box.found[box.chosen] ?? { href: link(state, "prompts", "", { q: box.text }) }, context);
    else if (event.key === "Escape") close();
  };
  return h("div.search", { role: "search" },
    h("input", {
      id: "search", type: "search", placeholder: "Search prompts, 2/350, tokens …", autocomplete: "off", value: box.text,
      role: "combobox", "aria-label": "Search", "aria-expanded": String(box.isOpen && box.found.length > 0), "aria-controls": "found",
      "aria-activedescendant": box.isOpen && box.found.length ? `found-${box.chosen}` : null,
      oninput: change, onkeydown: key, onfocus: change, onblur: () => setTimeout(close, 150),
    }),
    h("ul", { id: "found", role: "listbox", "aria-label": "Found", class: box.isOpen && box.found.length ? "" : "is-hidden" },
      box.isOpen ? box.found.map((hit, i) =>
        h("li", {
          key: i, id: `found-${i}`, role: "option", "aria-selected": String(i === box.chosen),
          onpointerdown: (event) => event.preventDefault(), onclick: () => open(hit, context),
        }, h("b", {}, hit.kind), h("bdi", {}, hit.name), h("span.soft", {}, hit.more ?? ""))) : null));
}

function open(hit, context) {
  Object.assign(box, { isOpen: false, text: "", found: [] });
  document.getElementById("search").blur();
  if (hit.act) hit.act();
  else location.hash = hit.href;
  context.draw();
}

function commands({ state }) {
  const asked = box.text.trim().toLowerCase();
  const named = asked ? Object.keys(PAGES).filter((name) => name.includes(asked)).slice(0, 4) : [];
  return named.map((name) => ({ kind: "go to", name, href: link(state, name) }));
}

async function look(context) {
  const { state, draw } = context;
  const asked = box.text.trim();
  if (!asked) return;
  try {
    const found = await api.get("/api/search", { q: asked });
    if (box.text.trim() !== asked) return;
    box.found = [
      ...commands(context),
      ...found.features.slice(0, 6).map((f) => ({
        kind: "feature", name: `${f.layer}/${f.feature}`, more: f.label ?? plural(f.prompts, "prompt"), href: link(state, "feature", `${f.layer}/${f.feature}`),
      })),
      ...found.prompts.slice(0, 8).map((p) => ({ kind: "prompt", name: clip(p.id, 40), more: clip(p.text, 60), href: link(state, "graph", p.id) })),
      ...found.tokens.slice(0, 5).map((t) => ({
        kind: "token", name: clip(t.label, 30), more: plural(t.prompts, "prompt"), href: link(state, "prompts", "", { q: `"${t.token}"` }),
      })),
    ];
    draw();
  } catch (error) {
    box.found = [{ kind: "", name: error.message, href: location.hash }];
    draw();
  }
}
