import { expect, test } from "vitest";
import { evaluations, facts, type RunDetails, shown, tables, verdict } from "../src/runs/report";

const figure = { value: 0.33, chance: 0.06, low: 0.29, high: 0.38, n: 86, beats_chance: true };
const results = {
  about: { model: "mini", seed: 0 },
  results: {
    overall: {
      "text→music": { queries: 86, items: 86, metrics: { MRR: figure }, note: "exact only" },
    },
    songs: { "text→music": { queries: 9, items: 9, metrics: { "R@1": { ...figure, low: null } } } },
  },
  robustness: { "12 dB less": { queries: 86, items: 86, metrics: { cosine: figure } } },
};

test("each task has a table, with the sets as rows and all metrics as columns", () => {
  const [task, robustness, ...rest] = tables(results);
  expect(rest).toEqual([]);
  expect(task?.metrics).toEqual(["MRR", "R@1"]);
  expect(
    task?.rows.map((row) => [row.name, row.queries, row.cells.map((cell) => cell?.low)]),
  ).toEqual([
    ["overall", 86, [0.29, undefined]],
    ["songs", 9, [undefined, null]],
  ]);
  expect(task?.notes).toEqual(["exact only"]);
  expect(robustness?.task).toBe("Robustness");
});

test("what is no report makes no tables", () => {
  for (const odd of [{}, { results: null }, { results: { a: 3 } }, { results: [1] }]) {
    expect(
      tables(odd as Record<string, unknown>).flatMap((table) =>
        table.rows.flatMap((row) => row.cells),
      ),
    ).toEqual([]);
  }
});

test("a run's own results and those of its evaluations are shown", () => {
  const run: RunDetails = { name: "a", curves: {}, report: results, figures: [] };
  expect(evaluations(run).map((one) => one.name)).toEqual([""]);
  const trained = { ...run, report: { start: "mini" }, evaluations: [{ name: "test", results }] };
  expect(evaluations(trained).map((one) => one.name)).toEqual(["test"]);
});

test("the verdict is read from a training's report alone", () => {
  expect(
    verdict({ test: { metric: "MRR", before: 0.3, after: 0.5, verdict: "better", low: null } }),
  ).toMatchObject({
    metric: "MRR",
    before: 0.3,
    after: 0.5,
    low: null,
    verdict: "better",
  });
  expect(verdict(results)).toBeNull();
  expect(verdict(null)).toBeNull();
});

test("facts are single values, nested names joined", () => {
  const report = {
    start: "mini",
    recipe: { settings: { learning_rate: 0.0001 } },
    failed: [],
    test: { after: 1 },
  };
  expect(facts(report, ["test"])).toEqual([
    ["start", "mini"],
    ["recipe settings learning rate", "0.0001"],
  ]);
});

test("ranks have a tenth, shares a thousandth", () => {
  expect([0.33333, 7, null].map(shown)).toEqual(["0.333", "7.0", "—"]);
});
