import { expect, test } from "vitest";
import { barsOf } from "../src/bars";

test("each bar is the greatest of its heights, the loudest 1", () => {
  expect(barsOf([0.1, 0.5, 0.2, 0.25], 2)).toEqual([1, 0.5]);
});

test("fewer heights than bars are spread, silence stays flat", () => {
  expect(barsOf([0.5, 0.25], 4)).toEqual([1, 1, 0.5, 0.5]);
  expect(barsOf([0, 0, 0], 2)).toEqual([0, 0]);
  expect(barsOf([], 2)).toEqual([0, 0]);
});

test("no height gets lost", () => {
  for (let bars = 1; bars < 40; bars++) {
    const heights = Array.from({ length: 37 }, (_, at) => (at === 23 ? 1 : 0.1));
    expect(Math.max(...barsOf(heights, bars))).toBe(1);
    expect(barsOf(heights, bars)).toHaveLength(bars);
  }
});
