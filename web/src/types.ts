// What the service says and takes. All times are seconds.

export interface Track {
  id: string;
  title: string;
  artist: string;
  album: string;
  genre: string;
  year: number | null;
  duration: number;
  path: string;
  problem: string;
}

export interface Match {
  track: Track;
  score: number;
  /** How sure it is that the track has to do with the question, 0 to 1. */
  calibrated: number;
  /** The moment that fits best. */
  start: number;
  end: number;
  /** Near-duplicates that were folded into this answer. */
  also: Track[];
}

export interface Segment {
  track: Track;
  score: number;
  start: number;
  end: number;
}

/** A question as the service reads it; what is left out asks for nothing. */
export interface Question {
  query?: string | null;
  without?: string[];
  /** Ids of tracks, or of sounds that were uploaded. */
  like?: string[];
  unlike?: string[];
  artist?: string[];
  album?: string[];
  genre?: string[];
  year_from?: number | null;
  year_to?: number | null;
  duration_from?: number | null;
  duration_to?: number | null;
  under?: string[];
  added_since?: string | null;
  where?: string | null;
  per?: "artist" | "album" | null;
  fold?: boolean;
  k?: number;
  min_score?: number;
}

export interface Sound {
  id: string;
  title: string;
  duration: number;
  problem: string;
}

export interface Info {
  version: string;
  library: string;
  tracks: number;
  clips: number;
  hours: number;
  dim: number;
  model: string;
  fingerprint: string;
  can_add: boolean;
  has_runs: boolean;
  formats: string[];
}

export interface SessionState {
  needed: boolean;
  open: boolean;
}

export interface Tag {
  facet: string;
  label: string;
  score: number;
}

export type Facets = Record<string, { label: string; tracks: number }[]>;

export interface Peaks {
  bins: number;
  duration: number;
  /** One height per bin, 0 to 1. */
  peaks: number[];
}

export interface PlaylistSummary {
  name: string;
  tracks: number;
  minutes: number;
  saved: string;
}

export interface Playlist {
  name: string;
  tracks: Track[];
  /** Paths that the library no longer holds. */
  missing: string[];
  minutes: number;
}

export interface PlaylistWish {
  query?: string | null;
  like?: string[];
  from?: string | null;
  to?: string | null;
  k?: number;
  minutes?: number | null;
  per_artist?: number | null;
}

/** The whole library on a plane: columns of equal length. */
export interface MusicMap {
  method: "pacmap" | "pca";
  version: number | string;
  ids: string[];
  titles: string[];
  artists: string[];
  genres: string[];
  moods: string[];
  /** -1 to 1. */
  x: number[];
  y: number[];
}

export interface AddProgress {
  done: number;
  total: number;
  failed: number;
  seconds: number;
  path: string;
}

export interface AddReport {
  added: string[];
  updated: string[];
  unchanged: string[];
  removed: string[];
  failed: { path: string; reason: string }[];
  problems: { path: string; problem: string }[];
  seconds: number;
}

export interface AddJob {
  job: string;
  state: string;
  progress?: AddProgress | null;
  report?: AddReport | null;
  error?: ProblemDetails | null;
}

export interface RunSummary {
  name: string;
  steps: number;
  best: number | null;
}

export interface Run {
  name: string;
  curves: Record<string, { step: number; value: number }[]>;
  report: Record<string, unknown> | null;
  figures: string[];
}

/** RFC 9457. */
export interface ProblemDetails {
  type?: string;
  title: string;
  status: number;
  detail?: string;
}
