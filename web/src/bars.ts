// Heights of a waveform → bars of a drawing. Pure.

/** Make `bars` of many heights: each the greatest of those it stands for, the loudest one 1. */
export function barsOf(heights: readonly number[], bars: number): number[] {
  const found = Array.from({ length: bars }, (_, bar) => {
    const from = Math.floor((bar * heights.length) / bars);
    const to = Math.max(from + 1, Math.ceil(((bar + 1) * heights.length) / bars));
    return Math.max(0, ...heights.slice(from, to));
  });
  const loudest = Math.max(...found);
  return loudest > 0 ? found.map((height) => height / loudest) : found;
}
