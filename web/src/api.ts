// The service's routes as functions. Every failure is a Problem whose message a person can act on.

import { signal } from "@preact/signals";
import type {
  AddJob,
  Facets,
  Info,
  Match,
  MusicMap,
  Peaks,
  Playlist,
  PlaylistSummary,
  PlaylistWish,
  ProblemDetails,
  Question,
  Run,
  RunSummary,
  Segment,
  SessionState,
  Sound,
  Tag,
  Track,
} from "./types";

/** False once the service has asked for the token; the page then shows the way in. */
export const sessionOpen = signal(true);

/** What went wrong, in words. `status` is 0 where the service could not be reached. */
export class Problem extends Error {
  readonly status: number;
  /** Seconds after which to try again, where the service has said so. */
  readonly retryAfter: number | null;

  constructor(message: string, status: number, retryAfter: number | null = null) {
    super(message);
    this.name = "Problem";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** An answer that is still being worked out (202); ask again after so many seconds. */
export interface Pending {
  pending: true;
  retryAfter: number;
}

interface Asking {
  method?: string;
  body?: unknown;
  signal?: AbortSignal | undefined;
}

const UNREACHABLE = "The service does not answer. Is clap-musicgen serve still running?";

async function request(path: string, asking: Asking = {}): Promise<Response> {
  const init: RequestInit = { method: asking.method ?? "GET", credentials: "same-origin" };
  if (asking.signal) init.signal = asking.signal;
  if (asking.body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(asking.body);
  }
  let response: Response;
  try {
    response = await fetch(`api${path}`, init);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem(UNREACHABLE, 0);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function json<T>(path: string, asking: Asking = {}): Promise<T> {
  return (await request(path, asking)).json() as Promise<T>;
}

async function problemOf(response: Response): Promise<Problem> {
  if (response.status === 401) sessionOpen.value = false;
  const wait = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new Problem(
    messageOf(await response.text().catch(() => ""), response.status),
    response.status,
    Number.isFinite(wait) ? wait : null,
  );
}

/** Read the sentence out of a body of problem details; other bodies give a plain sentence. */
export function messageOf(body: string, status: number): string {
  try {
    const problem = JSON.parse(body) as Partial<ProblemDetails>;
    if (problem.detail) return problem.detail;
    if (problem.title) return problem.title;
  } catch {
    // Not JSON: something between us and the service has answered.
  }
  return status === 503
    ? "The service is busy. Try again in a moment."
    : `The service answered with ${status}.`;
}

/** Whether an error only says that nobody waits for the answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function parameters(values: Record<string, string | number | boolean | null | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(pairs.map(([key, value]) => [key, String(value)])).toString();
  return text ? `?${text}` : "";
}

const named = encodeURIComponent;

// Session

export const session = (): Promise<SessionState> => json("/session");

export async function openSession(token: string): Promise<void> {
  await request("/session", { method: "POST", body: { token } });
  sessionOpen.value = true;
}

export async function closeSession(): Promise<void> {
  await request("/session", { method: "DELETE" });
  sessionOpen.value = false;
}

// Questions

export async function search(question: Question, signal?: AbortSignal): Promise<Match[]> {
  const answer = await json<{ matches: Match[] }>("/search", {
    method: "POST",
    body: question,
    signal,
  });
  return answer.matches;
}

export async function segments(
  question: Question & { track?: string },
  signal?: AbortSignal,
): Promise<Segment[]> {
  const answer = await json<{ segments: Segment[] }>("/segments", {
    method: "POST",
    body: question,
    signal,
  });
  return answer.segments;
}

export async function similar(id: string, k = 20, signal?: AbortSignal): Promise<Match[]> {
  const path = `/tracks/${named(id)}/similar${parameters({ k })}`;
  return (await json<{ matches: Match[] }>(path, { signal })).matches;
}

/** Send a sound so that it can be asked with; `onProgress` hears how much has gone out, 0 to 1. */
export function sendSound(
  file: File,
  onProgress: (share: number) => void = () => {},
  signal?: AbortSignal,
): Promise<Sound> {
  // fetch cannot say how much of a body has been sent.
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", "api/sounds");
    sending.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    sending.onload = () => {
      if (sending.status === 201) {
        resolve(JSON.parse(sending.responseText) as Sound);
        return;
      }
      if (sending.status === 401) sessionOpen.value = false;
      reject(new Problem(messageOf(sending.responseText, sending.status), sending.status));
    };
    sending.onerror = () => reject(new Problem(UNREACHABLE, 0));
    sending.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => sending.abort());
    const form = new FormData();
    form.append("file", file);
    sending.send(form);
  });
}

// Library and tracks

export const info = (): Promise<Info> => json("/info");

export const tracks = (
  asking: { offset?: number; limit?: number; find?: string } = {},
  signal?: AbortSignal,
): Promise<{ total: number; tracks: Track[] }> =>
  json(`/tracks${parameters({ ...asking })}`, { signal });

export const track = (id: string): Promise<Track> => json(`/tracks/${named(id)}`);

export const trackTags = async (id: string): Promise<Tag[]> =>
  (await json<{ tags: Tag[] }>(`/tracks/${named(id)}/tags`)).tags;

export const facets = async (): Promise<Facets> => (await json<{ facets: Facets }>("/tags")).facets;

export const peaks = (id: string, bins: number): Promise<Peaks> =>
  json(`/tracks/${named(id)}/peaks${parameters({ bins })}`);

export const audioUrl = (id: string): string => `api/tracks/${named(id)}/audio`;

/** The same sound as 16-bit WAV, for what the browser cannot play. */
export const wavUrl = (id: string): string => `api/tracks/${named(id)}/audio.wav`;

export const coverUrl = (id: string): string => `api/tracks/${named(id)}/cover`;

// Playlists

export const playlists = async (): Promise<PlaylistSummary[]> =>
  (await json<{ playlists: PlaylistSummary[] }>("/playlists")).playlists;

export const playlist = (name: string): Promise<Playlist> => json(`/playlists/${named(name)}`);

export const savePlaylist = (name: string, ids: string[]): Promise<Playlist> =>
  json(`/playlists/${named(name)}`, { method: "PUT", body: { tracks: ids } });

export async function deletePlaylist(name: string): Promise<void> {
  await request(`/playlists/${named(name)}`, { method: "DELETE" });
}

export const playlistFileUrl = (name: string): string => `api/playlists/${named(name)}/m3u8`;

export const makePlaylist = async (wish: PlaylistWish): Promise<Track[]> =>
  (await json<{ tracks: Track[] }>("/playlists/make", { method: "POST", body: wish })).tracks;

// Map

export async function map(signal?: AbortSignal): Promise<MusicMap | Pending> {
  const response = await request("/map", { signal });
  if (response.status !== 202) return response.json() as Promise<MusicMap>;
  const wait = Number(response.headers.get("Retry-After") ?? 2);
  return { pending: true, retryAfter: Number.isFinite(wait) && wait > 0 ? wait : 2 };
}

/** Scores of all tracks for a question, in the order of the map. */
export const mapScores = async (question: Question, signal?: AbortSignal): Promise<number[]> =>
  (await json<{ scores: number[] }>("/map/scores", { method: "POST", body: question, signal }))
    .scores;

// Adding

export const startAdding = (paths: string[] | null, prune = false): Promise<{ job: string }> =>
  json("/add", { method: "POST", body: { paths, prune } });

export const currentAdding = (): Promise<AddJob> => json("/add");

export async function stopAdding(job: string): Promise<void> {
  await request(`/add/${named(job)}`, { method: "DELETE" });
}

/** Server-sent events `progress`, `report` and `error` of a job. */
export const addingEvents = (job: string): EventSource =>
  new EventSource(`api/add/${named(job)}/events`);

// Training runs

export const runs = async (): Promise<RunSummary[]> =>
  (await json<{ runs: RunSummary[] }>("/runs")).runs;

export const run = (name: string): Promise<Run> => json(`/runs/${named(name)}`);

export const figureUrl = (name: string, file: string): string =>
  `api/runs/${named(name)}/figures/${named(file)}`;
