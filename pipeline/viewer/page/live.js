// Questions to the live model. Under each name one is on its way; what is asked meanwhile waits, and only the newest
// of it is asked then. So a slider that is dragged asks as fast as answers come, and ends on its last value.

import * as api from "viewer/api.js";
import { h } from "viewer/elements.js";
import { command } from "viewer/parts/command.js";
import { visible } from "viewer/parts/text.js";

const PAGE = Math.random().toString(36).slice(2); // questions of one page supersede each other
let asked = 0;

/** True where this page can ask a model. */
export const hasModel = ({ sweep }) => !api.isExported && sweep.can?.model !== false;

/** What is known under a name: {answer, body, failed, since}. */
export const known = ({ local }, name) => local.live?.[name] ?? {};

/** Ask; the answer is kept under the name, with the question. Returns it, or undefined if it failed or is not wanted any more. */
export async function ask(context, name, kind, body) {
  const all = (context.local.live ??= {});
  const one = (all[name] ??= {});
  one.next = { kind, body };
  if (one.since) return undefined;
  const ticking = setInterval(context.draw, 1000);
  one.since = Date.now();
  let found;
  while (one.next && all[name] === one) {
    const { next } = one;
    Object.assign(one, { next: null, failed: null, id: `${PAGE}-${++asked}` });
    context.draw();
    found = undefined;
    try {
      found = await api.post(`/api/live/${next.kind}`, { ...next.body, page: PAGE, id: one.id });
      Object.assign(one, { answer: found, body: next.body });
    } catch (error) {
      one.failed = error;
    }
  }
  clearInterval(ticking);
  one.since = 0;
  context.draw();
  return all[name] === one ? found : undefined;
}

/** How a question stands: what it waits for, with a way to end it, or why there is no answer. */
export function standing({ local, draw }, name) {
  const { since, failed, id } = local.live?.[name] ?? {};
  if (since) {
    const seconds = Math.floor((Date.now() - since) / 1000);
    const end = () => {
      delete local.live[name];
      api.remove(`/api/live/${id}`).catch(() => {});
      draw();
    };
    return h("p.busy", { key: `busy ${name}`, role: "status" }, "Asking the model …", seconds < 1 ? "" : ` ${seconds} s; the first question loads it `, seconds < 1 ? null : h("button.small", { onclick: end }, "cancel"));
  }
  return failed ? h("p.bad", { key: `failed ${name}`, role: "alert" }, visible(failed.message), " ", visible(failed.wayOut ?? "")) : null;
}

/** Where there is no model: the command that has one. */
export const noModel = ({ sweep }, what) => h("p.empty", { key: "no model" }, `${what} `, command(`circuit-sweep view ${sweep.url}`));

/** A banner where the live model does not say what the tables hold. */
export function differing(answer) {
  return answer?.differs ? h("p.warned", { key: "differs", role: "alert" }, `The live model's own probabilities differ from the table's by ${answer.differs.toFixed(4)}: another device or precision than the sweep's. Effects are of the model that runs here.`) : null;
}
