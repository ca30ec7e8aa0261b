// A prompt's tokens, shaded by a number of each.

import { h } from "viewer/elements.js";
import { visible } from "viewer/parts/text.js";

/** Tokens in a row; `values` shade them (the largest full), `peak` is marked. Each is isolated, whatever it holds. */
export function tokenRow(tokens, { values = [], peak = -1, most = 0, limit = 400 } = {}) {
  const largest = most || values.reduce((a, b) => Math.max(a, b || 0), 0);
  const shown = tokens.slice(0, limit);
  const isSpaced = shown.some((token) => /^\s/.test(token)); // words of a vocabulary of words hold no spaces to break at
  return h("span.tokens", {},
    shown.flatMap((token, i) => {
      const part = largest > 0 ? Math.sqrt(Math.max(0, values[i] || 0) / largest) : 0;
      return [isSpaced || !i ? null : h("wbr", { key: `w${i}` }), h("bdi.token", {
        key: i,
        class: i === peak ? "peak" : "",
        style: { "--part": `${Math.round(part * 70)}%` },
        title: values[i] ? `${visible(token)} · ${Number(values[i]).toPrecision(3)}` : null,
      }, spaced(token))];
    }),
    tokens.length > limit ? h("span.soft", {}, ` … ${tokens.length - limit} more`) : null);
}

/** A token's text with its leading space kept visible as a gap, long ones clipped. */
function spaced(token) {
  const text = visible(token);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text || "∅";
}
