// A command to run elsewhere, with a button that copies it.

import { h } from "viewer/elements.js";

export function command(text, { isBlock = false } = {}) {
  const copy = (event) => {
    const button = event.currentTarget;
    navigator.clipboard?.writeText(text);
    button.textContent = "copied";
  };
  return h(isBlock ? "div.command" : "span.command", {},
    h(isBlock ? "pre" : "code", isBlock ? { tabindex: 0 } : {}, text),
    h("button.small", { onclick: copy, "aria-label": `Copy: ${text.slice(0, 60)}` }, "copy"));
}
