// Who is next to whom on the plane. Pure; distances are those of the map.

type Numbers = ArrayLike<number>;

export type Direction = "left" | "right" | "up" | "down";

function distances(x: Numbers, y: Numbers, index: number): Float32Array {
  const [x0, y0] = [x[index] ?? 0, y[index] ?? 0];
  return Float32Array.from(
    { length: x.length },
    (_, other) => ((x[other] as number) - x0) ** 2 + ((y[other] as number) - y0) ** 2,
  );
}

/** The places of the `k` smallest values, smallest first. */
export function smallest(values: Numbers, k: number): number[] {
  const best: number[] = [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as number;
    if (best.length === k && value >= (values[best[k - 1] as number] as number)) continue;
    let place = best.length;
    while (place > 0 && (values[best[place - 1] as number] as number) > value) place--;
    best.splice(place, 0, index);
    if (best.length > k) best.pop();
  }
  return best;
}

/** The point itself, then its nearest neighbours: `k` in all. */
export function nearest(x: Numbers, y: Numbers, index: number, k: number): number[] {
  const far = distances(x, y, index);
  far[index] = -1;
  return smallest(far, k);
}

/** The nearest point that lies in a direction, give or take 45 degrees; null at the edge. */
export function towards(
  x: Numbers,
  y: Numbers,
  index: number,
  direction: Direction,
): number | null {
  const far = distances(x, y, index);
  const sideways = direction === "left" || direction === "right";
  const sign = direction === "left" || direction === "down" ? -1 : 1;
  for (let other = 0; other < far.length; other++) {
    const dx = (x[other] as number) - (x[index] as number);
    const dy = (y[other] as number) - (y[index] as number);
    const [along, across] = sideways ? [dx, dy] : [dy, dx];
    if (sign * along <= 0 || Math.abs(across) > sign * along) far[other] = Number.POSITIVE_INFINITY;
  }
  const found = smallest(far, 1)[0];
  return found === undefined || !Number.isFinite(far[found]) ? null : found;
}

/** Points whose title or artist contain all words, at most `k`. */
export function found(titles: string[], artists: string[], text: string, k: number): number[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const places: number[] = [];
  for (let index = 0; index < titles.length && places.length < k; index++) {
    const name = `${titles[index]} ${artists[index]}`.toLowerCase();
    if (words.every((word) => name.includes(word))) places.push(index);
  }
  return places;
}
