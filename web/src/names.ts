// What tracks and uploaded sounds are called, for questions that are read from the address.

import * as api from "./api";

const KEY = "clap-musicgen.names";
let kept: Map<string, string> | undefined;

/** The titles, read when one is first needed: storage is slow, and the page should appear at once. */
function known(): Map<string, string> {
  kept ??= new Map(stored());
  return kept;
}

function stored(): [string, string][] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as [string, string][];
  } catch {
    return []; // nothing stored that can be read: titles are asked for again
  }
}

/** Remember a title for as long as the tab is open. */
export function remember(id: string, title: string): void {
  if (known().get(id) === title) return;
  known().set(id, title);
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...known()].slice(-200)));
  } catch {
    // Storage is full or forbidden: the title lasts as long as the page.
  }
}

/** Whether an id is that of an uploaded sound; all others are tracks. */
export const isSound = (id: string): boolean => id.startsWith("s-");

export function nameOf(id: string): string {
  return known().get(id) ?? (isSound(id) ? "your sound" : "a track");
}

/** Ask for the titles that are not known yet; true if there is something new. */
export async function learn(ids: string[]): Promise<boolean> {
  const unknown = ids.filter((id) => !known().has(id) && !isSound(id));
  const found = await Promise.allSettled(unknown.map((id) => api.track(id)));
  for (const one of found) if (one.status === "fulfilled") remember(one.value.id, one.value.title);
  return found.some((one) => one.status === "fulfilled");
}
