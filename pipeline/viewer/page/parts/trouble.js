// Something went wrong: what, the rule, and the way out, as the commands say it.

import { h } from "viewer/elements.js";
import { command } from "viewer/parts/command.js";
import { visible } from "viewer/parts/text.js";
import { link } from "viewer/state.js";

export function trouble(error, { state, reload }) {
  const { details = {}, status } = error;
  const failed = details.failed;
  return h("section.trouble", { role: "alert", key: "trouble" },
    h("h2", {}, status === 404 ? "Not here" : status === 0 ? "Cut off" : "That did not work"),
    h("p", {}, visible(error.message)),
    failed ? h("p", {}, `It failed at stage ${failed.stage}: `, h("bdi", {}, visible(failed.message))) : null,
    error.wayOut ? h("p", {}, withCommands(error.wayOut)) : null,
    h("p", {},
      h("button", { onclick: reload }, "Try again"), " ",
      h("a", { href: link(state, "prompts") }, "all prompts")),
  );
}

/** Text in which what stands in backticks is a command to copy. */
export function withCommands(text) {
  return visible(text).split("`").map((piece, i) => (i % 2 ? command(piece) : piece));
}
