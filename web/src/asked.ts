// What is asked, and how it is written in the page's address and for the service. Pure.

import type { Question } from "./types";

/** A track or an uploaded sound in a question. */
export interface Example {
  id: string;
  title: string;
}

export interface Filters {
  artist: string;
  album: string;
  genre: string[];
  yearFrom: number | null;
  yearTo: number | null;
  /** Minutes. */
  longerThan: number | null;
  shorterThan: number | null;
  addedSince: string;
  per: "artist" | "album" | null;
  fold: boolean;
}

export interface Asked {
  words: string;
  without: string[];
  like: Example[];
  unlike: Example[];
  filters: Filters;
  k: number;
}

export const FIRST = 20;
/** The service gives no more answers to one question. */
export const MOST = 200;

export const NO_FILTERS: Filters = {
  artist: "",
  album: "",
  genre: [],
  yearFrom: null,
  yearTo: null,
  longerThan: null,
  shorterThan: null,
  addedSince: "",
  per: null,
  fold: true,
};

export const NOTHING: Asked = {
  words: "",
  without: [],
  like: [],
  unlike: [],
  filters: NO_FILTERS,
  k: FIRST,
};

/** Whether there is something to search for: what is not wanted alone is no direction. */
export function asksSomething(asked: Asked): boolean {
  return asked.words.trim() !== "" || asked.like.length > 0;
}

/** How many filters differ from asking all tracks. */
export function filterCount(filters: Filters): number {
  const texts = [filters.artist, filters.album, filters.addedSince, filters.per ?? ""];
  const ranges = [filters.yearFrom ?? filters.yearTo, filters.longerThan ?? filters.shorterThan];
  return (
    texts.filter((text) => text !== "").length +
    ranges.filter((bound) => bound !== null).length +
    (filters.genre.length > 0 ? 1 : 0) +
    (filters.fold ? 0 : 1)
  );
}

/** Write a question for the service. */
export function toQuestion(asked: Asked): Question {
  const { filters } = asked;
  const question: Question = { k: asked.k, fold: filters.fold };
  if (asked.words.trim()) question.query = asked.words.trim();
  if (asked.without.length) question.without = asked.without;
  if (asked.like.length) question.like = asked.like.map((one) => one.id);
  if (asked.unlike.length) question.unlike = asked.unlike.map((one) => one.id);
  if (filters.artist) question.artist = [filters.artist];
  if (filters.album) question.album = [filters.album];
  if (filters.genre.length) question.genre = filters.genre;
  if (filters.yearFrom !== null) question.year_from = filters.yearFrom;
  if (filters.yearTo !== null) question.year_to = filters.yearTo;
  if (filters.longerThan !== null) question.duration_from = 60 * filters.longerThan;
  if (filters.shorterThan !== null) question.duration_to = 60 * filters.shorterThan;
  if (filters.addedSince) question.added_since = filters.addedSince;
  if (filters.per) question.per = filters.per;
  return question;
}

/** Write a question as parameters of the address; `readParameters` reads them again. */
export function writeParameters(asked: Asked): URLSearchParams {
  const { filters } = asked;
  const written = new URLSearchParams();
  const put = (key: string, value: string | number | null): void => {
    if (value !== null && value !== "") written.append(key, String(value));
  };
  put("q", asked.words);
  for (const words of asked.without) put("without", words);
  for (const one of asked.like) put("like", one.id);
  for (const one of asked.unlike) put("unlike", one.id);
  put("artist", filters.artist);
  put("album", filters.album);
  for (const genre of filters.genre) put("genre", genre);
  put("from", filters.yearFrom);
  put("to", filters.yearTo);
  put("longer", filters.longerThan);
  put("shorter", filters.shorterThan);
  put("since", filters.addedSince);
  put("per", filters.per);
  if (!filters.fold) put("copies", "1");
  if (asked.k !== FIRST) put("k", asked.k);
  return written;
}

/** Read a question from the address; what makes no sense is left out. */
export function readParameters(written: URLSearchParams, titleOf: (id: string) => string): Asked {
  const text = (key: string): string => written.get(key) ?? "";
  const texts = (key: string): string[] => written.getAll(key).filter((one) => one.trim() !== "");
  const number = (key: string): number | null => {
    const value = Number.parseFloat(text(key));
    return Number.isFinite(value) ? value : null;
  };
  const examples = (key: string): Example[] => texts(key).map((id) => ({ id, title: titleOf(id) }));
  const per = text("per");
  return {
    words: text("q"),
    without: texts("without"),
    like: examples("like"),
    unlike: examples("unlike"),
    filters: {
      artist: text("artist"),
      album: text("album"),
      genre: texts("genre"),
      yearFrom: number("from"),
      yearTo: number("to"),
      longerThan: number("longer"),
      shorterThan: number("shorter"),
      addedSince: text("since"),
      per: per === "artist" || per === "album" ? per : null,
      fold: text("copies") !== "1",
    },
    k: Math.min(MOST, Math.max(1, Math.round(number("k") ?? FIRST))),
  };
}

/** Say in words what is asked, for headings and the screen reader. */
export function spoken(asked: Asked): string {
  const parts = [
    ...(asked.words.trim() ? [`“${asked.words.trim()}”`] : []),
    ...asked.like.map((one) => `like ${one.title}`),
    ...asked.unlike.map((one) => `unlike ${one.title}`),
    ...asked.without.map((words) => `without ${words}`),
  ];
  return parts.join(", ");
}
