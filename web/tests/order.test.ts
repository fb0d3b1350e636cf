import { expect, test } from "vitest";
import { long, moved, without } from "../src/playlists/order";

test("moving keeps every item, and puts the moved one where it shall lie", () => {
  const list = ["a", "b", "c", "d"];
  for (let from = 0; from < list.length; from++) {
    for (let to = 0; to < list.length; to++) {
      const next = moved(list, from, to);
      expect([...next].sort()).toEqual(list);
      expect(next[to]).toBe(list[from]);
    }
  }
  expect(moved(list, 9, 0)).toEqual(list);
});

test("taking out takes one", () => {
  expect(without(["a", "a", "b"], 1)).toEqual(["a", "b"]);
});

test("minutes are hours and minutes", () => {
  expect([0.4, 59, 60, 83.4].map(long)).toEqual(["0 min", "59 min", "1 h", "1 h 23 min"]);
});
