// Colours, light and dark: the one place they are written. The page's style sheet takes them as variables.
// Positive and negative differ in lightness as well, edges by dash and nodes by a minus, so that nobody needs to tell
// the hues apart.

export const LIGHT = {
  ground: "#f7f8f6",
  paper: "#ffffff",
  band: "#eef1ee",
  line: "#dde2de",
  ink: "#18241f",
  soft: "#5a6762",
  faint: "#8b9690",
  accent: "#0b6b61",
  "accent-soft": "#dcedea",
  positive: "#c2570c",
  negative: "#2a4596",
  good: "#1d6f42",
  bad: "#a8322a",
  warn: "#fbf1d8",
  node: "#ffffff",
  weak: "#72827b",
};

export const DARK = {
  ground: "#131816",
  paper: "#1b2220",
  band: "#19201d",
  line: "#323c38",
  ink: "#e6ece8",
  soft: "#a3b0aa",
  faint: "#74817b",
  accent: "#5fc4b6",
  "accent-soft": "#20403b",
  positive: "#e58536",
  negative: "#aebffb",
  good: "#74c996",
  bad: "#f08d84",
  warn: "#3a331f",
  node: "#202825",
  weak: "#93a39c",
};

export const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** `share` of colour `b` in colour `a`. */
export function mix(a, b, share) {
  const [from, to] = [channels(a), channels(b)];
  return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * share)).join(",")})`;
}
