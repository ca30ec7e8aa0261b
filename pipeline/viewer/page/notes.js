// Labels, supernodes, saved views and runs: notes that people wrote beside the tables. Where they cannot be written (a
// read-only output, an exported file), they stay in this browser, and the page says so.

import * as api from "viewer/api.js";

const STORE = "circuit-sweep notes";

/** All notes that hold now: {labels: Map of "2/350" to text, groups, views, runs, isKept}. */
export async function readNotes(sweep) {
  let notes = [];
  try {
    notes = (await api.get("/api/notes")).notes ?? [];
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  return sorted([...notes, ...ownNotes()], canWrite(sweep));
}

export const canWrite = (sweep) => !api.isExported && sweep?.can?.notes !== false && !sweep?.can?.read_only;

function sorted(notes, isKept) {
  const replaced = new Set(notes.map((note) => note.replaces).filter(Boolean));
  const current = notes.filter((note) => !replaced.has(note.id) && note.kind && !note.deleted);
  const of = (kind) => current.filter((note) => note.kind === kind);
  const labels = new Map();
  for (const note of of("label")) for (const member of note.members ?? []) labels.set(member, note.text);
  return { all: current, labels, groups: of("group"), views: of("view"), runs: of("run"), isKept, noteOf: (member) => of("label").findLast((note) => note.members?.includes(member)) };
}

/** Write a note; returns it. Throws where it cannot be kept, so that the text stays in its field. */
export async function writeNote(sweep, note) {
  if (canWrite(sweep)) return api.post("/api/notes", note);
  const own = { ...note, id: `own-${Date.now()}-${Math.random().toString(36).slice(2, 8)}`, created: new Date().toISOString(), isOwn: true };
  localStorage.setItem(STORE, JSON.stringify([...ownNotes(), own]));
  return own;
}

function ownNotes() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return []; // a file opened from disk may have no storage
  }
}
