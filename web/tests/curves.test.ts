import { expect, test } from "vitest";
import {
  at,
  bestStep,
  charts,
  extent,
  type Point,
  short,
  smooth,
  stops,
  thin,
  ticks,
  told,
} from "../src/runs/curves";

const flat = (value: number, steps = 20): Point[] =>
  Array.from({ length: steps }, (_, step) => ({ step, value }));

test("smoothing keeps what is flat and starts where the curve starts", () => {
  for (const { value } of smooth(flat(3))) expect(value).toBeCloseTo(3);
  expect(
    smooth([
      { step: 1, value: 7 },
      { step: 2, value: 0 },
    ])[0]?.value,
  ).toBeCloseTo(7);
});

test("a thinned curve keeps both ends", () => {
  const thinned = thin(flat(1, 1000), 50);
  expect(thinned).toHaveLength(50);
  expect([thinned[0]?.step, thinned[49]?.step]).toEqual([0, 999]);
  expect(thin(flat(1, 10), 50)).toHaveLength(10);
});

test("the loss, the validation and each other metric have a chart", () => {
  const drawn = charts({
    rate: flat(1),
    val_chance: flat(0.1),
    loss: flat(2),
    val_score: flat(0.3),
    empty: [],
  });
  expect(drawn.map((chart) => chart.title)).toEqual([
    "Training loss",
    "Validation",
    "Learning rate",
  ]);
  expect(drawn[0]?.lines.map((line) => line.name)).toEqual(["of each batch", "smoothed"]);
  expect(drawn[1]?.lines.map((line) => [line.name, line.dashed])).toEqual([
    ["score", false],
    ["chance", true],
  ]);
});

test("the best step is that of the highest score, the first of equal ones", () => {
  const scores = [0.1, 0.4, 0.4, 0.2].map((value, step) => ({ step: 10 * step, value }));
  expect(bestStep({ val_score: scores })).toBe(10);
  expect(bestStep({ loss: flat(1) })).toBeNull();
});

test("ticks are round and within", () => {
  expect(ticks(0, 1, 4)).toEqual([0, 0.5, 1]);
  expect(ticks(0, 2000, 4)).toEqual([0, 500, 1000, 1500, 2000]);
  expect(ticks(3, 3, 4).every(Number.isFinite)).toBe(true);
});

test("numbers are short", () => {
  expect([0, 0.12345, 1234, 25000, 0.00012].map(short)).toEqual([
    "0",
    "0.123",
    "1230",
    "25k",
    "1.2e-4",
  ]);
});

test("a flat curve has room, and one that is positive does not fall below zero", () => {
  const { values } = extent([{ name: "a", points: flat(0) }]);
  expect(values[1]).toBeGreaterThan(values[0]);
  expect(
    extent([
      {
        name: "a",
        points: [
          { step: 0, value: 0.01 },
          { step: 1, value: 1 },
        ],
      },
    ]).values[0],
  ).toBe(0);
});

test("a reading takes the last value that was written", () => {
  const line = {
    name: "score",
    points: [
      { step: 10, value: 1 },
      { step: 20, value: 2 },
    ],
  };
  expect(at(line, 5)).toBeNull();
  expect(at(line, 15)?.value).toBe(1);
  expect(stops([line, { name: "x", points: [{ step: 15, value: 0 }], faint: true }])).toEqual([
    10, 20,
  ]);
  expect(told({ title: "Validation", lines: [line] })).toBe(
    "Validation: score from 1 at step 10 to 2 at step 20.",
  );
});
