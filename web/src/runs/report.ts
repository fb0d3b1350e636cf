// What a run's report and its evaluations say, as tables and facts. Pure.

import type { Run } from "../types";

export interface Figure {
  value: number | null;
  chance: number | null;
  low: number | null;
  high: number | null;
  beats: boolean;
}

export interface Row {
  name: string;
  queries: number | null;
  cells: (Figure | null)[];
}

/** The sets of one task, with its metrics as columns. */
export interface TaskTable {
  task: string;
  metrics: string[];
  rows: Row[];
  notes: string[];
}

export interface Evaluation {
  name: string;
  results: Record<string, unknown>;
}

export type RunDetails = Run & { evaluations?: Evaluation[] };

/** The comparison with what a training began with, on tracks that took no part. */
export interface Verdict {
  metric: string;
  before: number;
  after: number;
  low: number | null;
  high: number | null;
  chance: number | null;
  queries: number | null;
  verdict: string;
}

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Everything that was measured: `report.json` where it holds results, and each evaluation. */
export function evaluations(run: RunDetails): Evaluation[] {
  const own = run.report && "results" in run.report ? [{ name: "", results: run.report }] : [];
  return [...own, ...(run.evaluations ?? [])];
}

/** One table per task of `results`, then one of the robustness, if there are any. */
export function tables(results: Json): TaskTable[] {
  const byTask = new Map<string, [string, Json][]>();
  for (const [set, tasks] of Object.entries(object(results["results"]))) {
    for (const [task, result] of Object.entries(object(tasks))) {
      byTask.set(task, [...(byTask.get(task) ?? []), [set, object(result)]]);
    }
  }
  const made = [...byTask].map(([task, rows]) => tabled(task, rows));
  const changes = Object.entries(object(results["robustness"]));
  if (changes.length) {
    made.push(
      tabled(
        "Robustness",
        changes.map(([change, result]) => [change, object(result)]),
      ),
    );
  }
  return made;
}

function tabled(task: string, named: [string, Json][]): TaskTable {
  const metrics = [
    ...new Set(named.flatMap(([, result]) => Object.keys(object(result["metrics"])))),
  ];
  const notes = [...new Set(named.map(([, result]) => result["note"]))].filter(
    (note): note is string => typeof note === "string" && note !== "",
  );
  const rows = named.map(([name, result]) => ({
    name,
    queries: number(result["queries"]),
    cells: metrics.map((metric) => figure(object(result["metrics"])[metric])),
  }));
  return { task, metrics, rows, notes };
}

function figure(value: unknown): Figure | null {
  if (typeof value !== "object" || value === null) return null;
  const { value: own, chance, low, high, beats_chance: beats } = value as Json;
  return {
    value: number(own),
    chance: number(chance),
    low: number(low),
    high: number(high),
    beats: beats === true,
  };
}

/** Ranks to a tenth, shares to a thousandth. */
export function shown(value: number | null): string {
  if (value === null) return "—";
  return Math.abs(value) >= 2 ? value.toFixed(1) : value.toFixed(3);
}

/** The comparison that ends a training's report; null in reports of another kind. */
export function verdict(report: Json | null): Verdict | null {
  const test = object(report?.["test"]);
  const [before, after] = [number(test["before"]), number(test["after"])];
  if (before === null || after === null) return null;
  return {
    metric: String(test["metric"] ?? "score"),
    before,
    after,
    low: number(test["low"]),
    high: number(test["high"]),
    chance: number(test["chance"]),
    queries: number(test["queries"]),
    verdict: String(test["verdict"] ?? ""),
  };
}

const SETTINGS = 40;

/** The single values of a report or of what an evaluation is about: [name, value] pairs. */
export function facts(report: Json, leftOut: readonly string[] = []): [string, string][] {
  const found: [string, string][] = [];
  const visit = (value: unknown, name: string): void => {
    if (found.length >= SETTINGS || leftOut.includes(name)) return;
    if (Array.isArray(value)) {
      if (value.length && value.every((one) => typeof one !== "object")) {
        found.push([name, value.slice(0, 12).join(", ")]);
      }
    } else if (typeof value === "object" && value !== null) {
      for (const [key, own] of Object.entries(value)) visit(own, name ? `${name} ${key}` : key);
    } else if (value !== null && value !== "") {
      found.push([name, typeof value === "number" ? plain(value) : String(value)]);
    }
  };
  visit(report, "");
  return found.map(([name, value]) => [name.replaceAll("_", " "), value]);
}

function plain(value: number): string {
  return Number.isInteger(value)
    ? value.toLocaleString("en")
    : String(Number(value.toPrecision(4)));
}
