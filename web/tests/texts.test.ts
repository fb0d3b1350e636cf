import { expect, test } from "vitest";
import { clock, count, dotted, percent } from "../src/format";
import { artOf } from "../src/ui/art";

test("times", () => {
  expect([0, 59.9, 75, 3725, -3, Number.NaN, Number.POSITIVE_INFINITY].map(clock)).toEqual([
    "0:00",
    "0:59",
    "1:15",
    "1:02:05",
    "0:00",
    "0:00",
    "0:00",
  ]);
});

test("numbers and lists", () => {
  expect([count(1, "track"), count(12345, "track")]).toEqual(["1 track", "12,345 tracks"]);
  expect([percent(0.414), percent(1.2), percent(-1)]).toEqual(["41 %", "100 %", "0 %"]);
  expect(dotted(["Nina", "", null, 1969])).toBe("Nina · 1969");
});

test("a picture is always the same, and differs from others", () => {
  expect(artOf("ab12")).toEqual(artOf("ab12"));
  const hues = new Set(Array.from({ length: 100 }, (_, id) => artOf(`track ${id}`).hue));
  expect(hues.size).toBeGreaterThan(60);
  for (const height of artOf("ab12").bars) {
    expect(height).toBeGreaterThanOrEqual(6);
    expect(height).toBeLessThanOrEqual(20);
  }
});
