// What the page knows of the library as a whole, asked for once at the start.

import { signal } from "@preact/signals";
import * as api from "./api";
import type { Facets, Info } from "./types";

export const info = signal<Info | null>(null);
export const facets = signal<Facets | null>(null);
/** Whether one has come in with a token, and so may leave. */
export const locked = signal(false);
/** Why nothing is known of the library, if so. */
export const unreachable = signal<unknown>(null);

/** Ask whether a token is needed, and what the library holds. Never fails: it says `unreachable`. */
export async function startLibrary(): Promise<void> {
  try {
    const state = await api.session();
    locked.value = state.needed;
    api.sessionOpen.value = state.open || !state.needed;
    if (!api.sessionOpen.value) return;
    await refreshLibrary();
    unreachable.value = null;
  } catch (error) {
    unreachable.value = error;
  }
}

/** Ask anew what the library holds: after something was added. */
export async function refreshLibrary(): Promise<void> {
  info.value = await api.info();
  // Tags take the service a while the first time; nothing waits for them, and they are only hints.
  if (info.value.tracks > 0) {
    api.facets().then(
      (found) => {
        facets.value = found;
      },
      () => {},
    );
  }
}
