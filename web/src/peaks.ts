// The heights of tracks' waveforms: asked for a few at a time, kept while the page is open.

import * as api from "./api";

const AT_ONCE = 4;
export const BINS = 400;

const known = new Map<string, Promise<number[]>>();
const waiting: (() => void)[] = [];
let underWay = 0;

/** The heights (0 to 1) of a track; a failure is not kept, so that it can be asked for again. */
export function peaksOf(id: string): Promise<number[]> {
  const before = known.get(id);
  if (before) return before;
  const asked = inTurn(async () => (await api.peaks(id, BINS)).peaks);
  known.set(id, asked);
  asked.catch(() => known.delete(id));
  return asked;
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (underWay >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  underWay += 1;
  try {
    return await work();
  } finally {
    underWay -= 1;
    waiting.shift()?.();
  }
}
