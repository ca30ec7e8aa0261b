// Elements from plain descriptions: `h` describes one, `patch` makes the document match a list of them.
//
// No HTML strings anywhere: text is always a text node, so what strangers wrote (tokens, labels, prompts) stays
// text. Children are matched by `key`, or by their rank among the siblings of the same name.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "indeterminate", "selected", "open"]);

/** Describe an element: `h("button.small", {onclick}, "Run")`. */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return { name, classes, props: props ?? {}, children: children.flat(Infinity).filter(isShown) };
}

const isShown = (child) => child !== null && child !== undefined && typeof child !== "boolean";

/** Make the children of `parent` those described; elements that stay keep their focus, scroll and text. */
export function patch(parent, children) {
  const described = identified([children].flat(Infinity).filter(isShown));
  const old = new Map();
  for (const node of parent.childNodes) old.set(node.viewerIdentity, node);
  const wanted = new Set(described.map(([identity]) => identity));
  let next = parent.firstChild;
  const skipRemoved = () => {
    while (next && !wanted.has(next.viewerIdentity)) {
      const gone = next;
      next = next.nextSibling;
      remove(gone);
    }
  };
  for (const [identity, child] of described) {
    skipRemoved();
    const node = old.get(identity) ?? make(child, parent, identity);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
    update(node, child);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    remove(gone);
  }
}

function identified(children) {
  const ranks = new Map();
  return children.map((child) => {
    const name = child.name ?? "#text";
    if (child.props?.key !== undefined) return [`${name} ${child.props.key}`, child];
    const rank = ranks.get(name) ?? 0;
    ranks.set(name, rank + 1);
    return [`${name}#${rank}`, child];
  });
}

function make(child, parent, identity) {
  let node;
  if (child.name === undefined) node = document.createTextNode("");
  else if (child.name === "svg" || parent.namespaceURI === SVG) node = document.createElementNS(SVG, child.name);
  else node = document.createElement(child.name);
  node.viewerIdentity = identity;
  node.viewerProps = {};
  return node;
}

function update(node, child) {
  if (child.name === undefined) {
    if (node.data !== String(child)) node.data = String(child);
    return;
  }
  const isNew = !node.viewerMade;
  node.viewerMade = true;
  const props = { ...child.props };
  const classes = [...child.classes, ...(props.class ? props.class.split(" ") : [])].filter(Boolean).join(" ");
  if (classes || node.viewerProps.class) props.class = classes;
  // A list of options must be there before the value that picks one of them.
  if (!props.mount) patch(node, child.children);
  for (const name of Object.keys(node.viewerProps)) if (!(name in props)) set(node, name, null);
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.viewerProps = props;
  if (isNew && props.mount) props.mount(node);
  if (isNew && props.focus) queueMicrotask(() => node.focus());
}

function set(node, name, value) {
  if (["key", "mount", "unmount", "focus"].includes(name)) return;
  if (PROPERTIES.has(name)) {
    // A field in which somebody writes is not written over by an older state.
    if (name === "value" && document.activeElement === node && value === node.viewerProps.value) return;
    if (node[name] !== (value ?? "")) node[name] = value ?? (name === "value" ? "" : false);
    return;
  }
  if (node.viewerProps[name] === value) return;
  if (name.startsWith("on")) node[name] = value;
  else if (name === "style") setStyle(node, value ?? {});
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

function setStyle(node, style) {
  // Through the object model: the page's policy refuses style attributes.
  for (const name of Object.keys(node.viewerProps.style ?? {})) if (!(name in style)) node.style.removeProperty(name);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, String(value));
}

function remove(node) {
  node.viewerProps?.unmount?.(node);
  for (const child of node.childNodes) leave(child);
  node.remove();
}

function leave(node) {
  node.viewerProps?.unmount?.(node);
  for (const child of node.childNodes) leave(child);
}
