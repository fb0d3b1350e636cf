// Which words lie on the map, and where: titles where there are few points, else names of groups. Pure.

import { type Groups, OTHERS, UNKNOWN } from "./groups";

/** A text beside a point. */
export interface Label {
  index: number;
  text: string;
}

export interface PlacedLabel extends Label {
  x: number;
  y: number;
}

/** So few points have their titles beside them. */
export const FEW = 60;
const WIDE = 24;
const LETTER = 6.6;
const HEIGHT = 18;

/** The names of the groups, each at the point nearest to the middle of its group. */
export function groupLabels(
  { groups, of }: Groups,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
): Label[] {
  const members: number[][] = groups.map(() => []);
  for (let index = 0; index < of.length; index++) members[of[index] as number]?.push(index);
  return groups.flatMap(({ label }, group) => {
    const own = members[group] as number[];
    if (label === OTHERS || label === UNKNOWN || !own.length) return [];
    const [middleX, middleY] = [median(own, x), median(own, y)];
    const far = (index: number): number =>
      ((x[index] as number) - middleX) ** 2 + ((y[index] as number) - middleY) ** 2;
    const index = own.reduce((best, one) => (far(one) < far(best) ? one : best));
    return [{ index, text: label }];
  });
}

function median(indices: number[], values: ArrayLike<number>): number {
  const sorted = Float64Array.from(indices, (index) => values[index] as number).sort();
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

export function titleLabels(titles: string[]): Label[] {
  return titles.map((title, index) => ({ index, text: cut(title) }));
}

function cut(text: string): string {
  return text.length > WIDE ? `${text.slice(0, WIDE - 1).trimEnd()}…` : text;
}

/** Those labels that lie in view and on no other; earlier ones come first. */
export function apart(labels: PlacedLabel[], width: number, height: number): PlacedLabel[] {
  const kept: PlacedLabel[] = [];
  for (const label of labels) {
    if (label.x < 0 || label.y < 0 || label.x > width || label.y > height) continue;
    if (kept.every((other) => !touch(label, other))) kept.push(label);
  }
  return kept;
}

function touch(a: PlacedLabel, b: PlacedLabel): boolean {
  const across = ((a.text.length + b.text.length) * LETTER) / 2;
  return Math.abs(a.x - b.x) < across + 8 && Math.abs(a.y - b.y) < HEIGHT;
}
