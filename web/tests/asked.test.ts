import { expect, test } from "vitest";
import {
  type Asked,
  asksSomething,
  filterCount,
  MOST,
  NO_FILTERS,
  NOTHING,
  readParameters,
  spoken,
  toQuestion,
  writeParameters,
} from "../src/asked";

const FULL: Asked = {
  words: 'slow "church organ"^2 & more',
  without: ["vocals", "drum solo"],
  like: [{ id: "a1", title: "A" }],
  unlike: [{ id: "s-2", title: "B" }],
  filters: {
    artist: "Nina*",
    album: "Blue, or not",
    genre: ["jazz", "soul"],
    yearFrom: 1959,
    yearTo: 1970,
    longerThan: 2.5,
    shorterThan: 10,
    addedSince: "7d",
    per: "artist",
    fold: false,
  },
  k: 40,
};
const titleOf = (id: string): string => ({ a1: "A", "s-2": "B" })[id] ?? "?";

test.each([NOTHING, FULL, { ...NOTHING, filters: { ...NO_FILTERS, yearTo: 0 } }])(
  "what is written into the address is read again",
  (asked) => {
    const written = writeParameters(asked).toString();
    expect(readParameters(new URLSearchParams(written), titleOf)).toEqual(asked);
  },
);

test("nothing asked writes nothing", () => {
  expect(writeParameters(NOTHING).toString()).toBe("");
});

test("an address that makes no sense asks for what can be understood", () => {
  const read = readParameters(
    new URLSearchParams("q=jazz&from=soon&per=label&k=99999&like="),
    titleOf,
  );
  expect(read).toEqual({ ...NOTHING, words: "jazz", k: MOST });
});

test("the service gets seconds, ids and only what is asked", () => {
  expect(toQuestion(FULL)).toEqual({
    query: FULL.words,
    without: FULL.without,
    like: ["a1"],
    unlike: ["s-2"],
    artist: ["Nina*"],
    album: ["Blue, or not"],
    genre: ["jazz", "soul"],
    year_from: 1959,
    year_to: 1970,
    duration_from: 150,
    duration_to: 600,
    added_since: "7d",
    per: "artist",
    fold: false,
    k: 40,
  });
  expect(toQuestion({ ...NOTHING, words: " jazz " })).toEqual({ query: "jazz", k: 20, fold: true });
});

test("what is not wanted alone asks for nothing", () => {
  expect(asksSomething({ ...NOTHING, without: ["vocals"], unlike: FULL.unlike })).toBe(false);
  expect(asksSomething({ ...NOTHING, words: "  " })).toBe(false);
  expect(asksSomething({ ...NOTHING, like: FULL.like })).toBe(true);
});

test("a range counts as one filter", () => {
  expect(filterCount(NO_FILTERS)).toBe(0);
  expect(filterCount({ ...NO_FILTERS, yearFrom: 1960, yearTo: 1970 })).toBe(1);
  expect(filterCount(FULL.filters)).toBe(8);
});

test("a question in words", () => {
  expect(spoken({ ...FULL, words: "jazz" })).toBe(
    "“jazz”, like A, unlike B, without vocals, without drum solo",
  );
});
