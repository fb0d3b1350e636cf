import { expect, test } from "vitest";
import { isFinished } from "../src/search/typing";

test.each([
  ["jazz", true],
  ['jazz "church organ"', true],
  ['jazz "church', false],
  ["jazz -", false],
  ["jazz -vocals", true],
  ["drum-and-bass", true],
  ["piano^", false],
  ["jazz without ", false],
  ["jazz without vocals", true],
])("%j can be asked while typing: %s", (text, finished) => {
  expect(isFinished(text)).toBe(finished);
});
