// The keyboard. A page's own keys come first; none fires inside a field or with Ctrl, Meta or Alt, but Ctrl-K.

export const EVERYWHERE = {
  "/": ["search", () => document.getElementById("search")?.focus()],
  "?": ["these keys", ({ go }) => go({ page: "help" }, { isNew: true })],
};

/** Handle a key that was pressed. */
export function pressed(event, context) {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    document.getElementById("search")?.focus();
    return;
  }
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && field) field.blur();
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  // A button or a link keeps the keys that press it.
  if (event.key === "Enter" && event.target.closest?.("a, button, summary")) return;
  const keys = context.data ? (context.page?.keys ?? {}) : {};
  const [, act] = keys[event.key] ?? EVERYWHERE[event.key] ?? [];
  if (!act) return;
  event.preventDefault();
  act(context);
}
