// Which colour a point has: by a word it carries, or by a score. Pure.

export interface Group {
  label: string;
  count: number;
}

/** Points sorted into groups; `of` holds the group of each point. */
export interface Groups {
  groups: Group[];
  of: Float32Array;
}

export const UNKNOWN = "Unknown";
export const OTHERS = "Others";

const LIGHT = [
  "#3569b0",
  "#cf4457",
  "#23875a",
  "#b97d0c",
  "#7a4fb0",
  "#14909f",
  "#a9501b",
  "#65791b",
  "#bd4c97",
  "#4f5a6b",
];
const DARK = [
  "#7aa7ee",
  "#ff8a94",
  "#66cf9c",
  "#f2c14e",
  "#bd9bee",
  "#62d2dd",
  "#f0a06a",
  "#b7cc5a",
  "#f29ad0",
  "#a9b4c4",
];
const LIGHT_REST = { [OTHERS]: "#a39d95", [UNKNOWN]: "#cfcac2" };
const DARK_REST = { [OTHERS]: "#77717e", [UNKNOWN]: "#4d4954" };
const LIGHT_RAMP = ["#ddd8d0", "#efb9a8", "#d9553a", "#7d1405"];
const DARK_RAMP = ["#37343c", "#7a4031", "#ff8163", "#ffe9e2"];
const RAMP_STEPS = 64;

/** The most common words have a group each, the rest share one; points without a word another. */
export function grouped(words: string[], most = LIGHT.length): Groups {
  const keys = words.map(keyOf);
  const counts = counted(keys);
  const known = [...counts].filter(([key]) => key !== "").sort(byCount);
  const own = known.slice(0, known.length === most + 1 ? most + 1 : most);
  const spelled = spellings(words);
  const groups: Group[] = own.map(([key, count]) => ({ label: spelled.get(key) ?? key, count }));
  const index = new Map(own.map(([key], place) => [key, place]));
  const others = words.length - (counts.get("") ?? 0) - sum(own.map(([, count]) => count));
  if (others > 0) groups.push({ label: OTHERS, count: others });
  const unknown = groups.length;
  if (counts.has("")) groups.push({ label: UNKNOWN, count: counts.get("") ?? 0 });
  const rest = others > 0 ? own.length : unknown;
  const of = Float32Array.from(keys, (key) => (key ? (index.get(key) ?? rest) : unknown));
  return { groups, of };
}

/** "Hip-Hop" and "hip hop" are one. */
function keyOf(word: string): string {
  return word
    .toLowerCase()
    .replaceAll(/[-_\s]+/g, " ")
    .trim();
}

function counted(words: string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** How each key is written most often. */
function spellings(words: string[]): Map<string, string> {
  const best = new Map<string, string>();
  for (const [word] of [...counted(words)].sort(byCount)) {
    if (!best.has(keyOf(word))) best.set(keyOf(word), word);
  }
  return best;
}

function byCount([a, m]: [string, number], [b, n]: [string, number]): number {
  return n - m || a.localeCompare(b);
}

function sum(numbers: number[]): number {
  return numbers.reduce((whole, one) => whole + one, 0);
}

/** One colour per group, in their order. */
export function groupColours(groups: Group[], dark: boolean): string[] {
  const rest: Record<string, string> = dark ? DARK_REST : LIGHT_REST;
  const colours = dark ? DARK : LIGHT;
  return groups.map(
    ({ label }, place) => rest[label] ?? colours[place % colours.length] ?? "#888888",
  );
}

/** Scores as 0 to 1, where 0 is a common score and 1 the best: most of a library fits badly. */
export function shares(scores: ArrayLike<number>): Float32Array {
  const sorted = Float32Array.from(scores).sort();
  const low = sorted[Math.floor(sorted.length * 0.5)] ?? 0;
  const high = sorted[Math.ceil(sorted.length * 0.995) - 1] ?? 1;
  const span = Math.max(high - low, 1e-6);
  return Float32Array.from(scores, (score) => Math.min(1, Math.max(0, (score - low) / span)));
}

/** Colours from a bad fit to a good one. */
export function ramp(dark: boolean): string[] {
  const stops = dark ? DARK_RAMP : LIGHT_RAMP;
  return Array.from({ length: RAMP_STEPS }, (_, step) => {
    const at = (step / (RAMP_STEPS - 1)) * (stops.length - 1);
    const place = Math.min(stops.length - 2, Math.floor(at));
    return mixed(stops[place] ?? "#000000", stops[place + 1] ?? "#ffffff", at - place);
  });
}

function mixed(from: string, to: string, share: number): string {
  const part = (colour: string, place: number): number =>
    Number.parseInt(colour.slice(place, place + 2), 16);
  const parts = [1, 3, 5].map((place) =>
    Math.round(part(from, place) + share * (part(to, place) - part(from, place))),
  );
  return `#${parts.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
