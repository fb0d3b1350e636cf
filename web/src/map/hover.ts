// Hearing what one points at: after a moment, for a few seconds, and only where it is wanted.

import * as api from "../api";
import { preview, stopPreview } from "../player";
import { toastError } from "../toasts";
import type { Track } from "../types";

export const DELAY_MS = 250;
const EXCERPT_MS = 12_000;

let timer: ReturnType<typeof setTimeout> | undefined;
let wanted = "";
const known = new Map<string, Track>();

/** Begin an excerpt of a track unless the pointer has gone on by then. */
export function hear(id: string): void {
  clearTimeout(timer);
  wanted = id;
  timer = setTimeout(() => void begin(id), DELAY_MS);
}

/** The pointer has left. */
export function hush(): void {
  clearTimeout(timer);
  wanted = "";
  stopPreview({ resume: true });
}

async function begin(id: string): Promise<void> {
  try {
    const track = known.get(id) ?? (await api.track(id));
    known.set(id, track);
    if (wanted !== id) return;
    preview(track);
    timer = setTimeout(hush, EXCERPT_MS);
  } catch (error) {
    if (wanted === id) toastError(error);
  }
}
