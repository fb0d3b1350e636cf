// Making a playlist: by a theme, or as the way from one track to another.

import { useSignal } from "@preact/signals";
import * as api from "../api";
import { clock, count } from "../format";
import { enqueue, playAll } from "../player";
import { saveAsPlaylist } from "../player/save";
import { navigate, route, writeHash } from "../router";
import type { PlaylistWish, Track } from "../types";
import { Button, Failure, Icon, Loading } from "../ui";
import { long } from "./order";
import { Picker } from "./picker";
import { Sortable } from "./sortable";

type Kind = "theme" | "path";
const KINDS: readonly { kind: Kind; name: string }[] = [
  { kind: "theme", name: "By theme" },
  { kind: "path", name: "From one track to another" },
];

export function Make() {
  const kind: Kind = route.value.parameters.get("new") === "path" ? "path" : "theme";
  const made = useSignal<Track[] | null>(null);
  const failure = useSignal<unknown>(null);
  const busy = useSignal(false);
  const make = async (wish: PlaylistWish): Promise<void> => {
    busy.value = true;
    failure.value = null;
    try {
      made.value = await api.makePlaylist(wish);
    } catch (error) {
      failure.value = error;
    } finally {
      busy.value = false;
    }
  };
  return (
    <div class="playlists">
      <a class="back" href={writeHash("playlists")}>
        <Icon name="back" size={18} />
        Playlists
      </a>
      <header class="view-head">
        <h1>Make a playlist</h1>
      </header>
      <div class="card make">
        <div class="make-kinds" role="group" aria-label="How">
          {KINDS.map(({ kind: one, name }) => (
            <button
              key={one}
              type="button"
              class="chip"
              aria-pressed={one === kind}
              data-testid={`make-${one}`}
              onClick={() =>
                navigate("playlists", {
                  parameters: new URLSearchParams({ new: one }),
                  replace: true,
                })
              }
            >
              {name}
            </button>
          ))}
        </div>
        {kind === "theme" ? (
          <Theme busy={busy.value} make={make} />
        ) : (
          <Way busy={busy.value} make={make} />
        )}
      </div>
      {busy.value && !made.value && <Loading>Choosing tracks …</Loading>}
      {failure.value !== null && <Failure error={failure.value} title="No playlist came of it" />}
      {made.value && failure.value === null && (
        <Made
          tracks={made.value}
          onChange={(tracks) => {
            made.value = tracks;
          }}
        />
      )}
    </div>
  );
}

interface FormProps {
  busy: boolean;
  make: (wish: PlaylistWish) => Promise<void>;
}

function Theme({ busy, make }: FormProps) {
  return (
    <form
      class="make-form"
      onSubmit={(event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        const wish: PlaylistWish = { query: String(form.get("query")).trim() };
        const minutes = Number(form.get("minutes"));
        if (minutes > 0) wish.minutes = minutes;
        const most = Number(form.get("per_artist"));
        if (most > 0) wish.per_artist = most;
        if (wish.query) void make(wish);
      }}
    >
      <label class="field make-wide">
        What it is about
        <input
          class="input"
          name="query"
          required
          maxLength={2000}
          placeholder="rainy sunday piano -vocals"
          autocomplete="off"
          data-testid="make-query"
        />
      </label>
      <label class="field">
        Minutes
        <input
          class="input"
          name="minutes"
          type="number"
          min="1"
          max="1440"
          value="45"
          inputMode="numeric"
        />
      </label>
      <label class="field">
        Of each artist
        <select class="input" name="per_artist">
          <option value="0">as many as fit</option>
          <option value="1">at most one</option>
          <option value="2">at most two</option>
          <option value="3">at most three</option>
        </select>
      </label>
      <Button type="submit" kind="primary" disabled={busy} data-testid="make">
        {busy ? "Choosing …" : "Make"}
      </Button>
    </form>
  );
}

function Way({ busy, make }: FormProps) {
  const from = useSignal<Track | null>(null);
  const to = useSignal<Track | null>(null);
  return (
    <form
      class="make-form"
      onSubmit={(event) => {
        event.preventDefault();
        const k = Number(new FormData(event.currentTarget).get("k"));
        if (from.value && to.value) void make({ from: from.value.id, to: to.value.id, k });
      }}
    >
      <Picker
        label="Begin with"
        testid="make-from"
        chosen={from.value}
        onChoose={(track) => {
          from.value = track;
        }}
      />
      <Picker
        label="End with"
        testid="make-to"
        chosen={to.value}
        onChoose={(track) => {
          to.value = track;
        }}
      />
      <label class="field">
        Tracks
        <input
          class="input"
          name="k"
          type="number"
          min="2"
          max="200"
          value="12"
          inputMode="numeric"
        />
      </label>
      <Button
        type="submit"
        kind="primary"
        disabled={busy || !from.value || !to.value}
        data-testid="make"
      >
        {busy ? "Choosing …" : "Make"}
      </Button>
    </form>
  );
}

function Made({ tracks, onChange }: { tracks: Track[]; onChange: (tracks: Track[]) => void }) {
  if (!tracks.length) {
    return <p class="soft made-none">No track fits. Say it in other words, or more widely.</p>;
  }
  const minutes = tracks.reduce((sum, track) => sum + track.duration, 0) / 60;
  return (
    <section aria-label="The playlist" data-testid="made">
      <header class="view-head made-head">
        <p class="soft small numbers" role="status">
          {count(tracks.length, "track")} · {long(minutes)}
        </p>
        <div class="playlist-actions">
          <Button icon="play" onClick={() => playAll(tracks)}>
            Play
          </Button>
          <Button icon="enqueue" onClick={() => enqueue(tracks)}>
            Queue
          </Button>
          <Button
            kind="primary"
            icon="save"
            data-testid="save-made"
            onClick={() => saveAsPlaylist(tracks)}
          >
            Save
          </Button>
        </div>
      </header>
      <Sortable
        tracks={tracks}
        onChange={onChange}
        onPlay={(at) => playAll(tracks, at)}
        note={(track) => clock(track.duration)}
      />
    </section>
  );
}
