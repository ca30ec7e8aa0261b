// Text as people read it: what strangers wrote made visible, numbers short, sizes and counts in words.

const SIGNS = { "\n": "⏎", "\t": "⇥", "\r": "␍" };

/** Make controls, invisible and direction-changing characters visible: `\n` as a sign, U+202E as `\u202e`. */
export function visible(text) {
  return String(text)
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff\ufff0-\ufffb]/g, (c) => SIGNS[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** At most `most` characters, with a sign that there is more. */
export function clip(text, most = 80) {
  const shown = visible(text);
  return shown.length > most ? `${[...shown].slice(0, most - 1).join("")}…` : shown;
}

/** A share or a probability: three digits, `<.001` rather than nothing. */
export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value < 0 ? "−<.001" : "<.001";
  const text = Math.abs(value).toFixed(3).replace(/^0\./, ".");
  return value < 0 ? `−${text}` : text;
}

export const signed = (value) => (value > 0 ? `+${share(value)}` : share(value));

export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(value > 0.0995 || value === 0 ? 0 : 1)} %`);

/** A number of four digits. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value === "bigint" || Number.isInteger(value)) return count(value);
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("-", "−");
  return Number(value.toPrecision(4)).toString().replace("-", "−");
}

/** A number of two or three digits, for narrow tables. */
export const short = (value, digits = 2) => number(value === null || value === undefined ? value : Number(value.toPrecision(digits)));

export const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en-US").replace("-", "−"));

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) [value, at] = [value / 1000, at + 1];
  return `${value >= 100 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${Number(n) === 1 ? one : many}`;
