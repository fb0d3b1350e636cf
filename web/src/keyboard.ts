// Keys that work everywhere on the page. Letters do nothing while somebody types.

import { signal } from "@preact/signals";
import { current, seek, time, toggle } from "./player";
import { closeQueue, queueOpen } from "./player/queue";
import { showSearch } from "./question";

const STEP = 5;

export const keysShown = signal(false);

export const KEYS: readonly [keys: readonly string[], does: string][] = [
  [["/"], "Go to the search box"],
  [["↓", "↑"], "Move through the results"],
  [["Enter"], "Play the chosen result from the moment that fits"],
  [["M"], "More like the chosen result"],
  [["L"], "Less like the chosen result"],
  [["Q"], "Put the chosen result into the queue"],
  [["Space"], "Play or pause"],
  [["←", "→"], "Five seconds back or on"],
  [["Esc"], "Close what is open"],
  [["?"], "Show these keys"],
];

/** Whether the key that was pressed last meant something to the page. */
let ours = false;

export function startKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    ours = handle(event.key, event.target as HTMLElement);
    if (ours) event.preventDefault();
  });
  addEventListener("keyup", (event) => {
    // Some browsers press a button only when the space bar is let go.
    if (ours && event.key === " ") event.preventDefault();
  });
}

/** Whether a key means something in an element itself, so that it is not ours. */
function types(target: HTMLElement): boolean {
  return target.matches("input:not([type=range]), textarea, select, [contenteditable]");
}

function handle(key: string, target: HTMLElement): boolean {
  if (types(target)) return key === "ArrowDown" && isSearch(target) && step(1);
  switch (key) {
    case "/":
      return focusSearch();
    case "Escape":
      if (!queueOpen.value) return false;
      closeQueue();
      return true;
    case "?":
      keysShown.value = true;
      return true;
    case " ":
      // A button that was reached by keys is meant; one that was clicked before is not.
      if (target.closest("button, a, summary")?.matches(":focus-visible")) return false;
      toggle();
      return current.value !== null;
    case "ArrowDown":
      return step(1);
    case "ArrowUp":
      return step(-1);
    case "ArrowLeft":
      return leap(target, -STEP);
    case "ArrowRight":
      return leap(target, STEP);
    default:
      return onResult(key.toLowerCase(), target);
  }
}

const isSearch = (target: HTMLElement): boolean => target.id === "search-words";

/** Put the cursor into the search box, wherever one is. */
export function focusSearch(): boolean {
  showSearch();
  const focus = (): boolean => {
    const box = document.getElementById("search-words") as HTMLInputElement | null;
    box?.focus();
    box?.select();
    return box !== null;
  };
  // At once, so that no letter typed after the key is lost; coming from another view, once it is drawn.
  if (!focus()) requestAnimationFrame(focus);
  return true;
}

/** Move the focus to another result; above the first one is the search box. */
function step(by: 1 | -1): boolean {
  const all = [...document.querySelectorAll<HTMLElement>("[data-result] .play-cover")];
  if (!all.length) return false;
  const row = document.activeElement?.closest("[data-result]");
  const now = all.findIndex((one) => row?.contains(one));
  const active = document.activeElement;
  // Where the focus is in some other part, the arrows scroll as always.
  if (now < 0 && active && active !== document.body && !isSearch(active as HTMLElement))
    return false;
  if (now + by < 0) return now < 0 ? false : focusSearch();
  const next = all[Math.min(now + by, all.length - 1)];
  next?.focus({ focusVisible: true } as FocusOptions);
  next?.closest("[data-result]")?.scrollIntoView({ block: "nearest" });
  return true;
}

function leap(target: HTMLElement, by: number): boolean {
  if (!current.value || target.matches("input[type=range], [role=slider]")) return false;
  seek(time.value + by);
  return true;
}

const ACTIONS: Record<string, string> = { m: "more-like-this", l: "less-like-this", q: "enqueue" };

function onResult(key: string, target: HTMLElement): boolean {
  const action = ACTIONS[key];
  const button =
    action &&
    target.closest("[data-result]")?.querySelector<HTMLElement>(`[data-testid="${action}"]`);
  if (!button) return false;
  button.click();
  return true;
}
