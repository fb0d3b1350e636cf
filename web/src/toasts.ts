// Short messages that come and go.

import { signal } from "@preact/signals";

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
  /** Of two messages about the same matter only the later one stays. */
  about: string;
  action?: { label: string; run: () => void };
}

const SECONDS = 6;
let last = 0;

export const toasts = signal<Toast[]>([]);

/** Say something in a corner of the page for a few seconds. */
export function toast(
  text: string,
  options: { bad?: boolean; about?: string; action?: { label: string; run: () => void } } = {},
): void {
  last += 1;
  const id = last;
  const made: Toast = { id, text, bad: options.bad ?? false, about: options.about ?? text };
  if (options.action) made.action = options.action;
  toasts.value = [...toasts.value.filter((other) => other.about !== made.about).slice(-2), made];
  setTimeout(() => dismiss(id), (options.action ? 1.5 : 1) * SECONDS * 1000);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Take back what was said about a matter that has become plain otherwise. */
export function hush(about: string): void {
  toasts.value = toasts.value.filter((one) => one.about !== about);
}

/** Say what went wrong; anything that is no Error is a fault of ours and shown as it is. */
export function toastError(error: unknown): void {
  toast(error instanceof Error ? error.message : String(error), { bad: true });
}
