// Addresses within the page: the part after "#", such as "#/map" or "#/?q=slow+jazz". Pure.

export const VIEWS = ["search", "map", "playlists", "library", "runs"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** What follows the view's name: "#/playlists/quiet" gives "quiet". */
  rest: string;
  parameters: URLSearchParams;
}

/** Read an address; what cannot be read leads to the search. */
export function readHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [name = "", ...rest] = path.split("/");
  const view = VIEWS.find((known) => known === name) ?? "search";
  return { view, rest: decoded(rest.join("/")), parameters: new URLSearchParams(query) };
}

/** Write an address: the view, then "/rest", then "?parameters". */
export function writeHash(view: View, parameters?: URLSearchParams, rest = ""): string {
  const query = parameters?.toString() ?? "";
  const name = view === "search" ? "" : view;
  const tail = name && rest ? `/${encodeURIComponent(rest)}` : "";
  return `#/${name}${tail}${query ? `?${query}` : ""}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray "%": somebody has typed the address by hand
  }
}
