import { expect, test } from "vitest";
import { found, nearest, smallest, towards } from "../src/map/near";

const x = [0, 1, 2, 0, 0, -1];
const y = [0, 0, 0, 1, -3, 0.5];

test("the smallest values come first, and never more than there are", () => {
  expect(smallest([5, 1, 4, 2, 3], 3)).toEqual([1, 3, 4]);
  expect(smallest([2, 1], 5)).toEqual([1, 0]);
  expect(smallest([], 2)).toEqual([]);
});

test("smallest agrees with sorting", () => {
  const values = Array.from(
    { length: 200 },
    (_, place) => (Math.sin(place * 12.9898) * 43758.5453) % 1,
  );
  const sorted = values.map((_, place) => place).sort((a, b) => values[a]! - values[b]!);
  expect(smallest(values, 20)).toEqual(sorted.slice(0, 20));
});

test("a point is nearest to itself, even where another lies upon it", () => {
  expect(nearest(x, y, 0, 3)[0]).toBe(0);
  expect(nearest([1, 1, 5], [1, 1, 5], 1, 2)).toEqual([1, 0]);
});

test("the neighbours follow by distance", () => {
  expect(nearest(x, y, 1, 3)).toEqual([1, 0, 2]);
});

test("a direction leads to the nearest point that way, and nowhere from the edge", () => {
  expect(towards(x, y, 0, "right")).toBe(1);
  expect(towards(x, y, 0, "left")).toBe(5);
  expect(towards(x, y, 0, "up")).toBe(3);
  expect(towards(x, y, 0, "down")).toBe(4);
  expect(towards(x, y, 2, "right")).toBeNull();
});

test("all words must be in the title or the artist", () => {
  const titles = ["Blue Train", "Blue Monday", "Train in Vain"];
  const artists = ["John Coltrane", "New Order", "The Clash"];
  expect(found(titles, artists, "blue", 10)).toEqual([0, 1]);
  expect(found(titles, artists, "TRAIN clash", 10)).toEqual([2]);
  expect(found(titles, artists, "blue", 1)).toEqual([0]);
});
