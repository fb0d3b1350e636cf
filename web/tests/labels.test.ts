import { expect, test } from "vitest";
import { grouped } from "../src/map/groups";
import { apart, groupLabels, titleLabels } from "../src/map/labels";

test("a group's name lies at the point nearest to its middle", () => {
  const words = ["a", "a", "a", "b", "", "b", "b"];
  const x = [0, 1, 10, 5, 0, 6, 7];
  const labels = groupLabels(grouped(words), x, x);
  expect(labels).toEqual([
    { index: 1, text: "a" },
    { index: 5, text: "b" },
  ]);
});

test("long titles are cut", () => {
  const [label] = titleLabels(["A very long title that goes on and on"]);
  expect(label?.text).toBe("A very long title that…");
  expect(titleLabels(["short"])[0]?.text).toBe("short");
});

test("labels do not lie on each other, nor outside", () => {
  const at = (index: number, x: number, y: number) => ({ index, text: "abcdef", x, y });
  const kept = apart(
    [at(0, 50, 50), at(1, 55, 55), at(2, 50, 90), at(3, 200, 50), at(4, -5, 10)],
    150,
    150,
  );
  expect(kept.map((label) => label.index)).toEqual([0, 2]);
});
