// The current question and its answers.

import { batch, signal } from "@preact/signals";
import * as api from "./api";
import {
  type Asked,
  asksSomething,
  type Example,
  type Filters,
  FIRST,
  NOTHING,
  readParameters,
  toQuestion,
  writeParameters,
} from "./asked";
import { isSound, learn, nameOf, remember } from "./names";
import { navigate, route } from "./router";
import { toast, toastError } from "./toasts";
import type { Match, Track } from "./types";

export type Asking = "idle" | "asking" | "answered" | "failed";

export const asked = signal<Asked>(NOTHING);
export const matches = signal<Match[]>([]);
export const asking = signal<Asking>("idle");
export const failure = signal<unknown>(null);
/** The sound that is on its way to the service, if any. */
export const sending = signal<{ title: string; share: number } | null>(null);

let current: AbortController | null = null;

/** Change the question, show it in the address, and ask it. */
export function ask(changes: Partial<Asked>, options: { replace?: boolean } = {}): void {
  const next: Asked = { ...asked.value, k: FIRST, ...changes };
  asked.value = next;
  for (const one of [...next.like, ...next.unlike]) remember(one.id, one.title);
  navigate("search", {
    parameters: writeParameters(next),
    replace: options.replace ?? false,
  });
  void answer();
}

/** Go to the search and find the question there that was left. */
export function showSearch(): void {
  if (route.value.view !== "search")
    navigate("search", { parameters: writeParameters(asked.value) });
}

/** Ask for everything afresh: no words, no examples, no filters. */
export function clearQuestion(): void {
  ask(NOTHING);
}

export function setFilters(changes: Partial<Filters>): void {
  ask({ filters: { ...asked.value.filters, ...changes } });
}

export const askAgain = (): Promise<void> => answer();

async function answer(): Promise<void> {
  current?.abort();
  if (!api.sessionOpen.value) return; // asked again once the token is given
  if (!asksSomething(asked.value)) {
    batch(() => {
      matches.value = [];
      asking.value = "idle";
      failure.value = null;
    });
    return;
  }
  const mine = new AbortController();
  current = mine;
  asking.value = "asking";
  try {
    const found = await api.search(toQuestion(asked.value), mine.signal);
    if (current !== mine) return;
    batch(() => {
      matches.value = found;
      asking.value = "answered";
      failure.value = null;
    });
  } catch (error) {
    if (api.isAbort(error) || current !== mine) return;
    batch(() => {
      failure.value = error;
      asking.value = "failed";
    });
  }
}

/** Read the question out of the address: at the start, and whenever one goes back or forward. */
export function followAddress(): void {
  route.subscribe((now) => {
    if (now.view !== "search") return;
    const same = writeParameters(asked.peek()).toString() === now.parameters.toString();
    if (same) return;
    asked.value = readParameters(now.parameters, nameOf);
    void answer();
    void nameExamples();
  });
}

async function nameExamples(): Promise<void> {
  const examples = [...asked.value.like, ...asked.value.unlike];
  if (!api.sessionOpen.value || !(await learn(examples.map((one) => one.id)))) return;
  const named = (one: Example): Example => ({ id: one.id, title: nameOf(one.id) });
  asked.value = {
    ...asked.value,
    like: asked.value.like.map(named),
    unlike: asked.value.unlike.map(named),
  };
}

const exampleOf = (track: Track): Example => ({ id: track.id, title: track.title });
const leftOut = (examples: Example[], id: string): Example[] =>
  examples.filter((one) => one.id !== id);

/** "More like this": the track becomes part of what is wanted. */
export function likeMore(track: Track): void {
  const { like, unlike } = asked.value;
  ask({ like: [...leftOut(like, track.id), exampleOf(track)], unlike: leftOut(unlike, track.id) });
}

/** "Less like this": the answers move away from the track. */
export function likeLess(track: Track): void {
  const { like, unlike } = asked.value;
  const wanted = leftOut(like, track.id);
  if (!asksSomething({ ...asked.value, like: wanted })) {
    toast("Say first what you do want: in words, or with “more like this”.");
    return;
  }
  ask({ like: wanted, unlike: [...leftOut(unlike, track.id), exampleOf(track)] });
}

/** Search by this track alone. */
export function similarTo(track: Track): void {
  ask({ ...NOTHING, filters: asked.value.filters, like: [exampleOf(track)] });
}

export function forgetExample(id: string): void {
  const { like, unlike } = asked.value;
  ask({ like: leftOut(like, id), unlike: leftOut(unlike, id) });
}

export function addWithout(words: string): void {
  const wish = words.trim().replace(/^-+/, "");
  if (!wish || asked.value.without.includes(wish)) return;
  ask({ without: [...asked.value.without, wish] });
}

export function dropWithout(words: string): void {
  ask({ without: asked.value.without.filter((one) => one !== words) });
}

/** Send a sound file and search by it; an earlier sound gives way, words and tracks stay. */
export async function askWithSound(file: File): Promise<void> {
  sending.value = { title: file.name, share: 0 };
  showSearch();
  try {
    const sound = await api.sendSound(file, (share) => {
      sending.value = { title: file.name, share };
    });
    if (sound.problem) toast(`${sound.title}: ${sound.problem}`);
    const tracks = asked.value.like.filter((one) => !isSound(one.id));
    ask({ like: [...tracks, { id: sound.id, title: sound.title || file.name }] });
  } catch (error) {
    toastError(error);
  } finally {
    sending.value = null;
  }
}
