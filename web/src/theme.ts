// Light, dark, or as the system has it; a choice is remembered.

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const ORDER: readonly Theme[] = ["system", "light", "dark"];
const KEY = "clap-musicgen.theme";

const system = matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>(remembered());
/** Whether the page is dark now, whoever has decided so. */
export const dark = signal(isDark());

function remembered(): Theme {
  try {
    return ORDER.find((known) => known === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system"; // storage is forbidden: the choice lasts as long as the page
  }
}

function isDark(): boolean {
  return theme.value === "system" ? system.matches : theme.value === "dark";
}

function apply(): void {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  dark.value = isDark();
}

/** Begin with the remembered choice, and follow the system from then on. */
export function startTheme(): void {
  apply();
  system.addEventListener("change", apply);
}

export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // As above.
  }
  apply();
}

/** From one choice to the next: system, light, dark. */
export function nextTheme(): void {
  chooseTheme(ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length] ?? "system");
}

/** A colour of tokens.css as it is now, for what is drawn on a canvas. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
