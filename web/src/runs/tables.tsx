// A run's figures as tables: value, interval, and what chance would give.

import {
  type Evaluation,
  type Figure,
  facts,
  shown,
  tables,
  type TaskTable,
  type Verdict,
} from "./report";

export function EvaluationTables({ evaluation }: { evaluation: Evaluation }) {
  const about = facts((evaluation.results["about"] ?? {}) as Record<string, unknown>, [
    "fingerprint",
  ]);
  return (
    <section class="evaluation" data-testid="evaluation">
      <h2>{evaluation.name ? `Evaluation: ${evaluation.name}` : "Evaluation"}</h2>
      {tables(evaluation.results).map((table) => (
        <Task key={table.task} table={table} />
      ))}
      <p class="soft small">
        Below each value: its 95 % interval and what a random order would give. Strong: the whole
        interval is better than chance.
      </p>
      {about.length > 0 && <Facts pairs={about} title="How it was measured" />}
    </section>
  );
}

function Task({ table }: { table: TaskTable }) {
  return (
    <div class="card task">
      <h3>{table.task}</h3>
      <div class="scrolled" tabIndex={0} role="region" aria-label={table.task}>
        <table class="numbers">
          <thead>
            <tr>
              <th scope="col">{table.task === "Robustness" ? "change" : "set"}</th>
              {table.metrics.map((metric) => (
                <th key={metric} scope="col">
                  {metric}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {table.rows.map((row) => (
              <tr key={row.name}>
                <th scope="row">
                  {row.name.replaceAll("_", " ")}
                  {row.queries !== null && (
                    <small>{row.queries.toLocaleString("en")} queries</small>
                  )}
                </th>
                {row.cells.map((cell, place) => (
                  <Cell key={table.metrics[place]} figure={cell} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {table.notes.map((note) => (
        <p key={note} class="soft small">
          {note}
        </p>
      ))}
    </div>
  );
}

function Cell({ figure }: { figure: Figure | null }) {
  if (!figure || figure.value === null) return <td>—</td>;
  const bounded = figure.low !== null && figure.high !== null;
  return (
    <td>
      <span class={figure.beats ? "figure-strong" : ""}>{shown(figure.value)}</span>
      <small>
        {bounded && `${shown(figure.low)} to ${shown(figure.high)}`}
        {figure.chance !== null && <span>chance {shown(figure.chance)}</span>}
      </small>
    </td>
  );
}

export function VerdictCard({ verdict }: { verdict: Verdict }) {
  const most = Math.max(verdict.before, verdict.after, verdict.chance ?? 0, 1e-9);
  const bars: [string, number | null][] = [
    ["before", verdict.before],
    ["after", verdict.after],
    ["chance", verdict.chance],
  ];
  return (
    <section class="card verdict" data-testid="verdict">
      <h2>
        {verdict.metric}: <em>{verdict.verdict || "compared"}</em>
      </h2>
      <dl>
        {bars.map(
          ([name, value]) =>
            value !== null && (
              <div key={name} class="verdict-row">
                <dt>{name}</dt>
                <dd class="verdict-bar">
                  <i
                    class={`verdict-${name}`}
                    style={{ width: `${(100 * Math.max(0, value)) / most}%` }}
                  />
                </dd>
                <dd class="numbers">{shown(value)}</dd>
              </div>
            ),
        )}
      </dl>
      <p class="soft small">
        On tracks that took no part in the training
        {verdict.low !== null &&
          verdict.high !== null &&
          `; the difference lies between ${shown(verdict.low)} and ${shown(verdict.high)} (95 %)`}
        {verdict.queries !== null && `, over ${verdict.queries.toLocaleString("en")} queries`}.
      </p>
    </section>
  );
}

export function Facts({ pairs, title }: { pairs: [string, string][]; title: string }) {
  return (
    <details class="card facts">
      <summary>{title}</summary>
      <dl>
        {pairs.map(([name, value]) => (
          <div key={name}>
            <dt class="soft small">{name}</dt>
            <dd class="small">{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
