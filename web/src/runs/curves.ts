// Which curves share a chart, and the arithmetic of drawing them. Pure.

export interface Point {
  step: number;
  value: number;
}

export interface Line {
  name: string;
  points: Point[];
  /** What stands behind the others, such as the loss of single batches. */
  faint?: boolean;
  /** What is merely for comparison, such as the score of a random order. */
  dashed?: boolean;
}

export interface Chart {
  title: string;
  lines: Line[];
}

const DECAY = 0.9;
const MOST_DRAWN = 400;

/** Exponential moving average without the pull of its start, as in the run's own picture. */
export function smooth(points: Point[], decay = DECAY): Point[] {
  let mean = 0;
  return points.map(({ step, value }, place) => {
    mean = decay * mean + (1 - decay) * value;
    return { step, value: mean / (1 - decay ** (place + 1)) };
  });
}

/** At most `most` points, evenly chosen, with the last among them. */
export function thin(points: Point[], most = MOST_DRAWN): Point[] {
  if (points.length <= most) return points;
  const last = points.length - 1;
  return Array.from(
    { length: most },
    (_, place) => points[Math.floor((place * last) / (most - 1))] as Point,
  );
}

const NAMES: Record<string, string> = { lr: "learning rate", rate: "learning rate" };

/** "val_text_to_audio" → "text to audio". */
export function spoken(name: string): string {
  return NAMES[name] ?? name.replace(/^val_/, "").replaceAll("_", " ");
}

/** The charts of a run: its loss, what was validated, and each remaining metric by itself. */
export function charts(curves: Record<string, Point[]>): Chart[] {
  const given = Object.entries(curves).filter(([, points]) => points.length > 0);
  const made: Chart[] = [];
  const loss = given.find(([name]) => name === "loss")?.[1];
  if (loss) {
    const lines: Line[] = [{ name: "of each batch", points: thin(loss), faint: true }];
    if (loss.length > 10) lines.push({ name: "smoothed", points: thin(smooth(loss)) });
    else lines[0] = { name: "loss", points: loss };
    made.push({ title: "Training loss", lines });
  }
  const judged = given.filter(([name]) => name.startsWith("val_")).sort(scoreFirst);
  if (judged.length) {
    made.push({
      title: "Validation",
      lines: judged.map(([name, points]) => ({
        name: spoken(name),
        points: thin(points),
        dashed: name === "val_chance",
      })),
    });
  }
  for (const [name, points] of given) {
    if (name === "loss" || name.startsWith("val_")) continue;
    made.push({
      title: titled(spoken(name)),
      lines: [{ name: spoken(name), points: thin(points) }],
    });
  }
  return made;
}

function scoreFirst([a]: [string, Point[]], [b]: [string, Point[]]): number {
  const rank = (name: string): number => (name === "val_score" ? 0 : name === "val_chance" ? 2 : 1);
  return rank(a) - rank(b) || a.localeCompare(b);
}

function titled(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The step with the highest validation score: whose weights a run keeps. */
export function bestStep(curves: Record<string, Point[]>): number | null {
  const scores = curves["val_score"] ?? [];
  let best: Point | null = null;
  for (const point of scores) if (!best || point.value > best.value) best = point;
  return best?.step ?? null;
}

/** Round numbers that span from `low` to `high`, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step);
}

/** A number in few characters. */
export function short(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10000) return `${Number((value / 1000).toPrecision(3))}k`;
  if (size < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

export interface Extent {
  steps: [number, number];
  values: [number, number];
}

export function extent(lines: Line[]): Extent {
  const points = lines.flatMap((line) => line.points);
  const steps = points.map((point) => point.step);
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const floor = low >= 0 && low - room < 0 ? 0 : low - room;
  return { steps: [Math.min(...steps), Math.max(...steps)], values: [floor, high + room] };
}

/** The point of a line that was written at a step, or last before it. */
export function at(line: Line, step: number): Point | null {
  let found: Point | null = null;
  for (const point of line.points) {
    if (point.step > step) break;
    found = point;
  }
  return found;
}

/** All steps of the lines that are not faint, in order: the stops of the reading line. */
export function stops(lines: Line[]): number[] {
  const firm = lines.filter((line) => !line.faint);
  return [...new Set(firm.flatMap((line) => line.points.map((point) => point.step)))].sort(
    (a, b) => a - b,
  );
}

/** What the chart says, for those who do not see it. */
export function told({ title, lines }: Chart): string {
  const parts = lines
    .filter((line) => !line.faint && line.points.length > 0)
    .map(({ name, points }) => {
      const [first, last] = [points[0] as Point, points[points.length - 1] as Point];
      return `${name} from ${short(first.value)} at step ${first.step} to ${short(last.value)} at step ${last.step}`;
    });
  return `${title}: ${parts.join("; ")}.`;
}
