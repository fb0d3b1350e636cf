import { describe, expect, test } from "vitest";
import { grouped, groupColours, OTHERS, ramp, shares, UNKNOWN } from "../src/map/groups";

describe("grouped", () => {
  test("gives the most common words a group each, in order of size", () => {
    const { groups, of } = grouped(["jazz", "rock", "jazz", "", "pop", "rock", "jazz"]);
    expect(groups).toEqual([
      { label: "jazz", count: 3 },
      { label: "rock", count: 2 },
      { label: "pop", count: 1 },
      { label: UNKNOWN, count: 1 },
    ]);
    expect([...of]).toEqual([0, 1, 0, 3, 2, 1, 0]);
  });

  test("puts the rest into one group", () => {
    const words = ["a", "a", "a", "b", "b", "c", "d", ""];
    const { groups, of } = grouped(words, 2);
    expect(groups.map(({ label, count }) => [label, count])).toEqual([
      ["a", 3],
      ["b", 2],
      [OTHERS, 2],
      [UNKNOWN, 1],
    ]);
    expect([...of]).toEqual([0, 0, 0, 1, 1, 2, 2, 3]);
  });

  test("keeps a single word beyond the most, for a group of one other says nothing", () => {
    expect(grouped(["a", "b", "c"], 2).groups.map((group) => group.label)).toEqual(["a", "b", "c"]);
  });

  test("counts every point once", () => {
    const words = Array.from({ length: 500 }, (_, place) =>
      place % 7 ? `word ${place % 23}` : "",
    );
    const { groups, of } = grouped(words);
    expect(groups.reduce((sum, group) => sum + group.count, 0)).toBe(500);
    groups.forEach(({ count }, group) => {
      expect([...of].filter((own) => own === group)).toHaveLength(count);
    });
  });

  test("takes other spellings of a word for the same", () => {
    const { groups, of } = grouped(["hip hop", "Hip-Hop", "Jazz", "hip hop", "HIP_HOP"]);
    expect(groups).toEqual([
      { label: "hip hop", count: 4 },
      { label: "Jazz", count: 1 },
    ]);
    expect([...of]).toEqual([0, 0, 1, 0, 0]);
  });

  test("an empty library has no groups", () => {
    expect(grouped([]).groups).toEqual([]);
  });
});

test("every group has a colour, in both themes", () => {
  const { groups } = grouped(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", ""]);
  for (const dark of [false, true]) {
    const colours = groupColours(groups, dark);
    expect(colours).toHaveLength(groups.length);
    expect(new Set(colours).size).toBe(groups.length);
  }
});

test("shares run from a common score to the best", () => {
  const scores = Array.from({ length: 101 }, (_, place) => place / 100);
  const found = shares(scores);
  expect(found[0]).toBe(0);
  expect(found[50]).toBe(0);
  expect(found[75]).toBeCloseTo(0.5, 1);
  expect(found[100]).toBe(1);
});

test("equal scores are no best ones", () => {
  expect([...shares([0.2, 0.2, 0.2])]).toEqual([0, 0, 0]);
});

test("a ramp is made of colours", () => {
  for (const colour of [...ramp(false), ...ramp(true)]) expect(colour).toMatch(/^#[0-9a-f]{6}$/);
});
