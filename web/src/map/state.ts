// What the map shows and how. The points are fetched once and kept while the page is open.

import { batch, computed, signal } from "@preact/signals";
import * as api from "../api";
import { asksSomething, toQuestion } from "../asked";
import { asked } from "../question";
import { dark } from "../theme";
import { toastError } from "../toasts";
import type { MusicMap, Track } from "../types";
import type { Mode, Painting } from "./frame-api";
import { grouped, groupColours, ramp, shares } from "./groups";
import { found, nearest, smallest } from "./near";

export type ColourBy = "genre" | "mood" | "score";

/** `fresh` is false while a better map is being made. */
type Plane = MusicMap & { fresh?: boolean };

export const NEAR = 12;
const AGAIN_SECONDS = 5;
const LISTED = 100;

export const plane = signal<Plane | null>(null);
/** Whether the service is still working the map out. */
export const computing = signal(false);
export const failure = signal<unknown>(null);

export const colourBy = signal<ColourBy>("genre");
/** The group shown alone; null for all. */
export const alone = signal<number | null>(null);
export const scored = signal<{ words: string; scores: number[] } | null>(null);
export const scoring = signal(false);

export const mode = signal<Mode>("pan");
export const hearing = signal(false);
export const focused = signal<number | null>(null);
export const selected = signal<number[]>([]);
export const finding = signal("");

export const groups = computed(() => {
  const points = plane.value;
  if (!points) return null;
  return grouped(colourBy.value === "mood" ? points.moods : points.genres);
});

export const painting = computed<Painting | null>(() => {
  if (!plane.value || !groups.value) return null;
  if (colourBy.value === "score") {
    const values = scored.value
      ? shares(scored.value.scores)
      : new Float32Array(plane.value.x.length);
    return { values, continuous: true, colours: ramp(dark.value) };
  }
  const { of, groups: all } = groups.value;
  return { values: of, continuous: false, colours: groupColours(all, dark.value) };
});

/** The points of the group that is shown alone; null for all points. */
export const shown = computed<number[] | null>(() => {
  if (alone.value === null || colourBy.value === "score" || !groups.value) return null;
  return indices(groups.value.of, alone.value);
});

function indices(of: ArrayLike<number>, group: number): number[] {
  return Array.from(of, (own, index) => (own === group ? index : -1)).filter((index) => index >= 0);
}

export interface Listed {
  heading: string;
  indices: number[];
}

/** The tracks beside the map: what was found, what was circled, what lies near, or what fits. */
export const listed = computed<Listed | null>(() => {
  const points = plane.value;
  if (!points) return null;
  const text = finding.value.trim();
  if (text)
    return { heading: "Found", indices: found(points.titles, points.artists, text, LISTED) };
  if (selected.value.length)
    return { heading: "Circled", indices: selected.value.slice(0, LISTED) };
  if (focused.value !== null) {
    return { heading: "Nearby", indices: nearest(points.x, points.y, focused.value, NEAR) };
  }
  if (colourBy.value === "score" && scored.value) {
    const against = scored.value.scores.map((score) => -score);
    return { heading: `Fits “${scored.value.words}”`, indices: smallest(against, NEAR) };
  }
  return null;
});

/** A track as far as the map knows it: enough to play it and to put it into a list. */
export function trackAt(index: number): Track {
  const points = plane.value as MusicMap;
  return {
    id: points.ids[index] ?? "",
    title: points.titles[index] ?? "",
    artist: points.artists[index] ?? "",
    genre: points.genres[index] ?? "",
    album: "",
    year: null,
    duration: 0,
    path: "",
    problem: "",
  };
}

export function focusOn(index: number | null): void {
  batch(() => {
    focused.value = index;
    selected.value = [];
    finding.value = "";
  });
}

export function choose(points: number[]): void {
  batch(() => {
    selected.value = points;
    focused.value = null;
    finding.value = "";
    mode.value = "pan";
  });
}

export function colour(by: ColourBy): void {
  batch(() => {
    colourBy.value = by;
    alone.value = null;
  });
  if (by === "score" && !scored.value && asksSomething(asked.value)) void score(asked.value.words);
}

/** Colour by how well each track fits words; the current search's words bring its examples along. */
export async function score(words: string): Promise<void> {
  const same = words.trim() === asked.value.words.trim();
  const question = same && asksSomething(asked.value) ? toQuestion(asked.value) : { query: words };
  scoring.value = true;
  try {
    const scores = await api.mapScores(question);
    batch(() => {
      scored.value = { words: words.trim() || "the current search", scores };
      focused.value = null;
      selected.value = [];
    });
  } catch (error) {
    toastError(error);
  } finally {
    scoring.value = false;
  }
}

/** Fetch the points, and wait for them if they are still being worked out. */
export async function load(stop: AbortSignal): Promise<void> {
  failure.value = null;
  try {
    for (;;) {
      const answer = await api.map(stop);
      if (!("pending" in answer)) {
        take(answer);
        if ((answer as Plane).fresh !== false) return;
        await pause(1000 * AGAIN_SECONDS, stop);
        continue;
      }
      computing.value = true;
      await pause(1000 * answer.retryAfter, stop);
    }
  } catch (error) {
    if (!api.isAbort(error)) failure.value = error;
  } finally {
    computing.value = false;
  }
}

function take(points: Plane): void {
  const old = plane.value;
  if (old && old.version === points.version && old.fresh === points.fresh) return;
  const same = old !== null && String(old.ids) === String(points.ids);
  batch(() => {
    plane.value = points;
    if (same) return; // the same tracks in other places
    scored.value = null;
    focused.value = null;
    selected.value = [];
    alone.value = null;
    if (!points.genres.some(Boolean) && points.moods.some(Boolean)) colourBy.value = "mood";
  });
}

function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    stop.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("nobody looks any more", "AbortError"));
    });
  });
}
