// Training runs: how the curves went, and what came of it.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api";
import { count } from "../format";
import { navigate, route, writeHash } from "../router";
import type { RunSummary } from "../types";
import { Empty, Failure, Loading } from "../ui";
import { CurveChart } from "./chart";
import { bestStep, charts, short } from "./curves";
import { evaluations, facts, type RunDetails, verdict } from "./report";
import "./runs.css";
import { EvaluationTables, Facts, VerdictCard } from "./tables";

export default function RunsView() {
  const all = useSignal<RunSummary[] | null>(null);
  const failure = useSignal<unknown>(null);
  const load = async (): Promise<void> => {
    failure.value = null;
    try {
      all.value = await api.runs();
      if (!route.value.rest && all.value[0]) {
        navigate("runs", { rest: all.value[0].name, replace: true });
      }
    } catch (error) {
      failure.value = error;
    }
  };
  useEffect(() => void load(), []);
  if (failure.value) return <NoRuns error={failure.value} retry={() => void load()} />;
  if (!all.value) return <Loading />;
  if (!all.value.length) {
    return (
      <Empty icon="runs" title="No runs yet">
        <p>
          <code>clap-musicgen train</code> writes one into the folder given with <code>--out</code>.
        </p>
      </Empty>
    );
  }
  return (
    <div class="runs">
      <header class="view-head">
        <h1>Training</h1>
      </header>
      <RunTabs runs={all.value} now={route.value.rest} />
      <RunBody key={route.value.rest} name={route.value.rest} />
    </div>
  );
}

function NoRuns({ error, retry }: { error: unknown; retry: () => void }) {
  if (error instanceof api.Problem && error.status === 404) {
    return (
      <Empty icon="runs" title="No runs to show">
        <p>
          Start the service with <code>--runs FOLDER</code> to see the curves and reports of your
          trainings here.
        </p>
      </Empty>
    );
  }
  return <Failure error={error} retry={retry} />;
}

function RunTabs({ runs, now }: { runs: RunSummary[]; now: string }) {
  return (
    <nav class="run-list" aria-label="Runs">
      {runs.map((run) => (
        <a
          key={run.name}
          class="run-card"
          href={writeHash("runs", undefined, run.name)}
          aria-current={run.name === now ? "page" : undefined}
          data-testid="run"
        >
          <strong class="one-line">{run.name}</strong>
          <span class="soft small numbers">
            {run.steps ? count(run.steps, "step") : "evaluation"}
            {run.best !== null && ` · best ${short(run.best)}`}
          </span>
        </a>
      ))}
    </nav>
  );
}

function RunBody({ name }: { name: string }) {
  const run = useSignal<RunDetails | null>(null);
  const failure = useSignal<unknown>(null);
  const load = (): void => {
    failure.value = null;
    api.run(name).then(
      (found) => {
        run.value = found;
      },
      (error: unknown) => {
        failure.value = error;
      },
    );
  };
  useEffect(() => {
    if (name) load();
  }, [name]);
  if (failure.value) return <Failure error={failure.value} retry={load} />;
  if (!run.value) return <Loading />;
  return <RunShown run={run.value} />;
}

function RunShown({ run }: { run: RunDetails }) {
  const drawn = charts(run.curves);
  const compared = verdict(run.report);
  const measured = evaluations(run);
  const settings = run.report && !("results" in run.report) ? facts(run.report, ["test"]) : [];
  const best = bestStep(run.curves);
  return (
    <article class="run" aria-label={run.name} data-testid="run-shown">
      {compared && <VerdictCard verdict={compared} />}
      {best !== null && (
        <p class="soft small">
          Step {best.toLocaleString("en")} had the best score on validation: its weights are kept.
        </p>
      )}
      {drawn.length > 0 && (
        <section class="charts" aria-label="Curves">
          <h2 class="unseen">Curves</h2>
          {drawn.map((chart) => (
            <CurveChart key={chart.title} chart={chart} best={best} />
          ))}
        </section>
      )}
      {!drawn.length && !measured.length && (
        <p class="soft">This run has written no curve yet. Come back in a moment.</p>
      )}
      {measured.map((one) => (
        <EvaluationTables key={one.name} evaluation={one} />
      ))}
      {settings.length > 0 && <Facts pairs={settings} title="How it was trained" />}
      <Figures run={run} />
    </article>
  );
}

function Figures({ run }: { run: RunDetails }) {
  // The curves are above, and better.
  const shown = run.figures.filter((file) => !file.endsWith("curves.png"));
  if (!shown.length) return null;
  return (
    <section class="figures" aria-label="Figures">
      {shown.map((file) => (
        <figure key={file} class="card">
          <img src={api.figureUrl(run.name, file)} alt={captioned(file)} loading="lazy" />
          <figcaption class="soft small">{captioned(file)}</figcaption>
        </figure>
      ))}
    </section>
  );
}

const CAPTIONS: Record<string, string> = {
  results: "The results with their intervals",
  robustness: "How much changes of the sound matter",
  hit_curve: "How often the right track is among the first k",
  similarities: "Cosines of right and of other pairs",
  plane: "Texts and music in one space",
};

function captioned(file: string): string {
  const [name = "", ...folders] = file
    .replace(/\.png$/, "")
    .split("/")
    .reverse();
  const where = folders.length ? ` (${folders.reverse().join("/")})` : "";
  return (CAPTIONS[name] ?? name.replaceAll("_", " ")) + where;
}
