// A feature's label, edited in place. A save that fails keeps the text in the field.

import { h } from "viewer/elements.js";
import { writeNote } from "viewer/notes.js";
import { clip, visible } from "viewer/parts/text.js";

export function labelField(context, feature) {
  const { data, local, draw } = context;
  const label = data.notes?.labels.get(feature) ?? "";
  const isEdited = local.edited === feature;
  if (!isEdited) {
    return h("p.label", { key: `label ${feature}` },
      label ? h("bdi", { title: visible(label) }, `“${clip(label, 120)}”`) : null, " ",
      h("button.small", { title: "l", onclick: () => edit(context, feature) }, label ? "edit" : "label"),
      data.notes && !data.notes.isKept ? h("span.soft", {}, " kept in this browser only") : null);
  }
  return h("form.label", { key: `form ${feature}`, onsubmit: (event) => save(event, context, feature) },
    h("input", { name: "label", maxlength: 10000, value: local.draft ?? label, "aria-label": `Label of ${feature}`, focus: true,
      oninput: (event) => (local.draft = event.target.value),
      onkeydown: (event) => event.key === "Escape" && ((local.edited = null), draw()) }),
    h("button", {}, "Save"),
    local.failed ? h("p.bad", { role: "alert" }, local.failed) : null);
}

export function edit({ local, draw }, feature) {
  Object.assign(local, { edited: feature, draft: null, failed: null });
  draw();
}

async function save(event, context, feature) {
  event.preventDefault();
  const text = new FormData(event.target).get("label").trim();
  const { data, local, sweep, reload, draw } = context;
  const before = data.notes?.noteOf(feature);
  local.draft = text;
  try {
    await writeNote(sweep, { kind: "label", text, members: [feature], replaces: before?.id ?? null });
    Object.assign(local, { edited: null, draft: null, failed: null });
    reload();
  } catch (error) {
    local.failed = `Not saved: ${error.message} ${error.wayOut ?? ""}`;
    draw();
  }
}
