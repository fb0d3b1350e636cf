// Adding music: the job that the service runs, followed as it goes. It goes on without the page.

import { signal } from "@preact/signals";
import * as api from "../api";
import { refreshLibrary } from "../library-state";
import { toastError } from "../toasts";
import type { AddProgress, AddReport, ProblemDetails } from "../types";

export const job = signal<string | null>(null);
export const running = signal(false);
export const stopping = signal(false);
export const progress = signal<AddProgress | null>(null);
export const report = signal<AddReport | null>(null);
/** Why the last job ended without a report. */
export const wrong = signal("");

let events: EventSource | null = null;

/** Look whether somebody is adding already, or what the last job did. */
export async function look(): Promise<void> {
  if (running.value) return;
  try {
    const last = await api.currentAdding();
    job.value = last.job;
    progress.value = last.progress ?? null;
    report.value = last.report ?? null;
    wrong.value = last.error ? said(last.error) : "";
    if (!last.report && !last.error) follow(last.job);
  } catch (error) {
    if (!(error instanceof api.Problem && error.status === 404)) toastError(error); // 404: no job yet
  }
}

/** Begin: the folders of the service, or those of `paths`. */
export async function start(paths: string[] | null, prune: boolean): Promise<void> {
  try {
    const { job: begun } = await api.startAdding(paths, prune);
    job.value = begun;
    progress.value = null;
    report.value = null;
    wrong.value = "";
    follow(begun);
  } catch (error) {
    toastError(error);
  }
}

export async function stop(): Promise<void> {
  if (!job.value) return;
  stopping.value = true;
  try {
    await api.stopAdding(job.value);
  } catch (error) {
    stopping.value = false;
    toastError(error);
  }
}

function follow(id: string): void {
  events?.close();
  running.value = true;
  const source = api.addingEvents(id);
  events = source;
  source.addEventListener("progress", (event) => {
    progress.value = JSON.parse((event as MessageEvent<string>).data) as AddProgress;
  });
  source.addEventListener("report", (event) => {
    report.value = JSON.parse((event as MessageEvent<string>).data) as AddReport;
    end();
  });
  // The browser's own error events have no data: it connects again by itself, unless it has given up.
  source.addEventListener("error", (event) => {
    const { data } = event as MessageEvent<string | undefined>;
    if (data) wrong.value = said(JSON.parse(data) as ProblemDetails);
    else if (source.readyState !== EventSource.CLOSED) return;
    else
      wrong.value = "The service was not heard of any more. What was committed is in the library.";
    end();
  });
}

function end(): void {
  events?.close();
  events = null;
  running.value = false;
  stopping.value = false;
  void refreshLibrary().catch(toastError);
}

function said(problem: ProblemDetails): string {
  return problem.detail || problem.title;
}

/** Done of total as a share; null while the files are still being looked for. */
export function share(now: AddProgress | null): number | null {
  return now && now.total > 0 ? Math.min(1, now.done / now.total) : null;
}
