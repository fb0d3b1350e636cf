// The media keys of keyboards, headphones and lock screens, and the tab's title.

import { effect } from "@preact/signals";
import { coverUrl } from "../api";
import { asksSomething, spoken } from "../asked";
import { current, next, pause, playing, previous, seek, toggle } from "../player";
import { asked } from "../question";
import { route } from "../router";
import type { Track } from "../types";

const NAME = "clap-musicgen";

/** Tell the system what plays, and do what its keys say; from then on the title follows. */
export function startMediaKeys(): void {
  effect(() => {
    const track = current.value?.track;
    if (track && playing.value) document.title = `${track.title} · ${NAME}`;
    else if (route.value.view === "search" && asksSomething(asked.value)) {
      document.title = `${spoken(asked.value)} · ${NAME}`;
    } else document.title = NAME;
  });
  let heard = false;
  effect(() => {
    const track = current.value?.track;
    if (!navigator.mediaSession || !(track || heard)) return;
    if (!heard) takeKeys(navigator.mediaSession);
    heard = true;
    navigator.mediaSession.metadata = track ? described(track) : null;
  });
}

function takeKeys(session: MediaSession): void {
  session.setActionHandler("play", toggle);
  session.setActionHandler("pause", pause);
  session.setActionHandler("previoustrack", previous);
  session.setActionHandler("nexttrack", next);
  session.setActionHandler("seekto", ({ seekTime }) => seek(seekTime ?? 0));
}

const described = ({ id, title, artist, album }: Track): MediaMetadata =>
  new MediaMetadata({ title, artist, album, artwork: [{ src: coverUrl(id) }] });
