// Which view is shown.

import { signal } from "@preact/signals";
import { type Route, readHash, type View, writeHash } from "./address";

export { type Route, type View, VIEWS, writeHash } from "./address";

export const route = signal<Route>(readHash(location.hash));

addEventListener("hashchange", () => {
  route.value = readHash(location.hash);
});

/** Go to a view. `replace` leaves no trace in the history: for addresses that change while typing. */
export function navigate(
  view: View,
  options: { parameters?: URLSearchParams; rest?: string; replace?: boolean } = {},
): void {
  const hash = writeHash(view, options.parameters, options.rest);
  if (hash === location.hash || (hash === "#/" && !location.hash)) return;
  history[options.replace ? "replaceState" : "pushState"](null, "", hash);
  route.value = readHash(hash);
}
