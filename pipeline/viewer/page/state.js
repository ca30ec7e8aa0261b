// The page's state and its address: everything that is visible is in the URL's fragment, and nowhere else.
//
// `#/graph/two_hop-102?n=0.8&sel=1/484@8` is {page: "graph", key: "two_hop-102", n: 0.8, sel: ["1/484@8"], ...}.
// A fragment never reaches the server's log, and works in a file opened from disk.

const text = (fallback = "") => ({
  fallback,
  read: (value) => value,
  write: (value) => value,
});
const choice = (...names) => ({
  fallback: names[0],
  read: (value) => (names.includes(value) ? value : names[0]),
  write: (value) => value,
});
const number = (fallback, least = -Infinity, most = Infinity) => ({
  fallback,
  read: (value) => {
    const read = value.trim() === "" ? NaN : Number(value);
    return Number.isFinite(read) && read >= least && read <= most ? read : fallback;
  },
  write: String,
});
const yes = (fallback = false) => ({
  fallback,
  read: (value) => value === "1",
  write: (value) => (value ? "1" : "0"),
});
const list = () => ({ fallback: [], list: true, read: (value) => value, write: (value) => value });

const COMMON = {
  at: text(),
  theme: choice("", "light", "dark"),
  embed: yes(),
};

const DRAWING = {
  errors: yes(true),
  edge: text(),
  do: list(),
  sel: list(),
  pin: list(),
  group: list(),
  open: list(),
  box: list(),
  paint: choice("influence", "activation", "stability", "effect", "what-if", "none"),
  table: yes(),
  full: yes(),
};

/** Fields of each page's state. */
export const PAGES = {
  overview: {},
  prompts: { where: text(), q: text(), sort: text(), is: list(), group: text(), pick: list() },
  graph: {
    ...DRAWING,
    n: number(1, 0, 1),
    e: number(1, 0, 1),
    repack: yes(),
    view: text(),
    all: yes(),
    mode: text(),
    run: text(),
    list: text(),
  },
  feature: { more: number(1, 1, 100) },
  features: { sort: choice("influence", "support", "label"), q: text() },
  circuit: {
    ...DRAWING,
    label: text(),
    keys: list(),
    source: text(),
    found: text(),
    min: number(0.3, 0, 1),
    sign: number(0, 0, 1),
  },
  diff: { ...DRAWING, prompt: text(), b: text(), typed: text(), n: number(1, 0, 1), e: number(1, 0, 1) },
  trace: { ...DRAWING, text: text(), second: text(), target: text(), chat: yes(), n: number(1, 0, 1), e: number(1, 0, 1) },
  sql: { q: text() },
  failures: {},
  notes: {},
  help: {},
};

/** Read an address. What it does not say, or says wrongly, has its usual value. */
export function parse(hash) {
  const [path, ...rest] = hash.replace(/^#?\/?/, "").split("?");
  const [name, ...tail] = path.split("/");
  const page = Object.hasOwn(PAGES, name) ? name : "overview";
  const given = readQuery(rest.join("?"));
  const state = { page, key: page === name ? decode(tail.join("/")) : "" };
  for (const [field, kind] of Object.entries({ ...COMMON, ...PAGES[page] })) {
    if (!given.has(field)) state[field] = kind.fallback;
    else if (kind.list) state[field] = given.get(field).split(",").map(decode).filter(Boolean);
    else state[field] = kind.read(decode(given.get(field)));
  }
  return state;
}

/** Spell a state as an address; fields with their usual value are left out. */
export function spell(state) {
  const page = state.page ?? "overview";
  const parts = [];
  for (const [field, kind] of Object.entries({ ...COMMON, ...PAGES[page] })) {
    const value = state[field] ?? kind.fallback;
    if (kind.list) {
      if (value.length) parts.push(`${field}=${value.map(encode).join(",")}`);
    } else if (value !== kind.fallback) parts.push(`${field}=${encode(kind.write(value))}`);
  }
  const path = page === "overview" ? "#/" : `#/${page}${state.key ? `/${encode(state.key)}` : ""}`;
  return parts.length ? `${path}?${parts.join("&")}` : path;
}

/** The address of another page, keeping what holds for all (version, theme). */
export function link(state, page, key = "", fields = {}) {
  return spell({ page, key, at: state.at, theme: state.theme, embed: state.embed, ...fields });
}

function readQuery(query) {
  const given = new Map();
  for (const part of query.split("&")) {
    const split = part.indexOf("=");
    if (split > 0) given.set(part.slice(0, split), part.slice(split + 1));
  }
  return given;
}

// Characters that node names are made of stay readable.
const encode = (value) =>
  encodeURIComponent(String(value).toWellFormed()).replace(/%2F/g, "/").replace(/%40/g, "@").replace(/%3A/g, ":");

function decode(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value; // a stray % that somebody typed
  }
}
