// What plays: one audio element, a queue beside it, and short previews.

import { batch, computed, signal } from "@preact/signals";
import * as api from "./api";
import { remember } from "./names";
import { toast } from "./toasts";
import type { Track } from "./types";

/** A track and, if it is played for a moment in it, that moment. */
export interface Entry {
  track: Track;
  start?: number;
  end?: number;
}

export const current = signal<Entry | null>(null);
export const playing = signal(false);
/** Whether the sound is wanted but not there yet. */
export const buffering = signal(false);
export const time = signal(0);
export const duration = signal(0);
export const volume = signal(1);

/** What one has put together, in order; a track that is only tried out is not in it. */
export const queue = signal<Entry[]>([]);
/** The place in the queue that plays or played last; -1 before the first. */
export const position = signal(-1);
export const upNext = computed(() => queue.value.slice(position.value + 1));
/** Whether there is something that the player can show. */
export const hasPlayer = computed(() => current.value !== null || queue.value.length > 0);
export const hasNext = computed(() => position.value + 1 < queue.value.length);

export const audio = new Audio();
audio.preload = "auto";

let triedWav = false;

function isCurrent(track: Track): boolean {
  return current.value?.track.id === track.id;
}

/** Whether this track is heard right now. */
export const hears = (track: Track): boolean => playing.value && isCurrent(track);

/** Play a track, from `start` if given; the moment from `start` to `end` is marked. */
export function play(track: Track, moment: { start?: number; end?: number } = {}): void {
  stopPreview();
  const entry: Entry = { track, ...moment };
  remember(track.id, track.title);
  const from = moment.start ?? 0;
  if (isCurrent(track) && audio.src) {
    current.value = entry;
    audio.currentTime = from;
    time.value = from;
  } else {
    batch(() => {
      current.value = entry;
      time.value = from;
      duration.value = track.duration;
    });
    triedWav = false;
    load(api.audioUrl(track.id), from);
  }
  resume();
}

function load(url: string, from: number): void {
  audio.src = url;
  audio.currentTime = from; // before anything is loaded: where it will begin
}

function resume(): void {
  audio.play().catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "NotAllowedError") {
      toast("The browser wants a click before it plays: press play once more.");
    } // Other failures are told by the element's error event.
  });
}

export function pause(): void {
  audio.pause();
}

export function toggle(): void {
  if (!current.value) {
    if (queue.value.length) next();
    return;
  }
  if (audio.paused) {
    stopPreview();
    resume();
  } else audio.pause();
}

/** Play or pause a track: what its button does. */
export function togglePlaying(track: Track, moment: { start?: number; end?: number } = {}): void {
  if (isCurrent(track)) toggle();
  else play(track, moment);
}

export function seek(seconds: number): void {
  const end = duration.value || Number.POSITIVE_INFINITY;
  audio.currentTime = Math.min(Math.max(0, seconds), end);
  time.value = audio.currentTime;
}

export function setVolume(share: number): void {
  volume.value = Math.min(1, Math.max(0, share));
  audio.volume = volume.value;
}

/** Stop and put the player away, with the queue. */
export function closePlayer(): void {
  audio.pause();
  audio.removeAttribute("src");
  current.value = null;
  clearQueue();
}

// Queue

const entryOf = (one: Track | Entry): Entry => ("track" in one ? one : { track: one });

/** Put tracks at the end of the queue. */
export function enqueue(tracks: (Track | Entry)[]): void {
  if (!tracks.length) return;
  queue.value = [...queue.value, ...tracks.map(entryOf)];
  const [first] = tracks.map(entryOf);
  const what = tracks.length === 1 ? `“${first?.track.title}”` : `${tracks.length} tracks`;
  toast(`Queued ${what}`, { about: "queue" });
}

/** Make tracks the queue and play them from the first, or from `at`. */
export function playAll(tracks: (Track | Entry)[], at = 0): void {
  if (!tracks.length) return;
  queue.value = tracks.map(entryOf);
  playAt(at);
}

export function playAt(index: number): void {
  const entry = queue.value[index];
  if (!entry) return;
  position.value = index;
  play(entry.track, entry);
}

export function next(): void {
  if (hasNext.value) playAt(position.value + 1);
}

/** Back to the beginning; from there, back to the track before. */
export function previous(): void {
  const beginning = current.value?.start ?? 0;
  if (position.value > 0 && time.value < beginning + 3) playAt(position.value - 1);
  else seek(beginning);
}

export function removeFromQueue(index: number): void {
  queue.value = queue.value.filter((_, place) => place !== index);
  if (index <= position.value) position.value -= 1;
}

/** Move an entry of the queue by one place, up (-1) or down (1). */
export function moveInQueue(index: number, by: -1 | 1): void {
  const other = index + by;
  const moved = [...queue.value];
  const [one, two] = [moved[index], moved[other]];
  if (!one || !two) return;
  [moved[index], moved[other]] = [two, one];
  batch(() => {
    queue.value = moved;
    if (position.value === index) position.value = other;
    else if (position.value === other) position.value = index;
  });
}

export function clearQueue(): void {
  queue.value = [];
  position.value = -1;
}

// Previews: a sound on hovering, without touching what is in the player.

const sample = new Audio();
let wasPlaying = false;
export const previewing = signal<Track | null>(null);

/** Let a track be heard for as long as somebody points at it. */
export function preview(track: Track, moment: { start?: number } = {}): void {
  if (previewing.value?.id === track.id) return;
  if (!previewing.value) wasPlaying = playing.value;
  audio.pause();
  previewing.value = track;
  sample.src = api.audioUrl(track.id);
  sample.currentTime = moment.start ?? Math.min(30, track.duration / 3);
  sample.volume = volume.value;
  sample.onerror = () => {
    if (!sample.src.endsWith("audio.wav")) {
      sample.src = api.wavUrl(track.id);
      void sample.play().catch(() => stopPreview());
    } else stopPreview();
  };
  // Before the first click browsers refuse sound: then there is nothing to hear, and no fault.
  sample.play().catch(() => {});
}

export function stopPreview(options: { resume?: boolean } = {}): void {
  if (!previewing.value) return;
  previewing.value = null;
  sample.onerror = null;
  sample.pause();
  sample.removeAttribute("src");
  if (options.resume && wasPlaying) resume();
  wasPlaying = false;
}

// What the element says

audio.addEventListener("play", () => {
  playing.value = true;
});
audio.addEventListener("pause", () => {
  playing.value = false;
});
audio.addEventListener("waiting", () => {
  buffering.value = true;
});
for (const event of ["playing", "pause", "error", "canplay"]) {
  audio.addEventListener(event, () => {
    buffering.value = false;
  });
}
audio.addEventListener("timeupdate", () => {
  time.value = audio.currentTime;
});
audio.addEventListener("seeking", () => {
  time.value = audio.currentTime;
});
audio.addEventListener("durationchange", () => {
  if (Number.isFinite(audio.duration) && audio.duration > 0) duration.value = audio.duration;
});
audio.addEventListener("ended", () => {
  if (hasNext.value) next();
});
audio.addEventListener("error", () => {
  const entry = current.value;
  if (!entry || !audio.getAttribute("src")) return;
  if (!triedWav) {
    triedWav = true; // a format that the browser does not know: take the decoded sound
    load(api.wavUrl(entry.track.id), time.value);
    resume();
    return;
  }
  playing.value = false;
  toast(`“${entry.track.title}” cannot be played: its file is damaged, or no longer there.`, {
    bad: true,
  });
  if (hasNext.value) next();
});
