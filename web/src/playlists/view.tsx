// Playlists: all of them, one of them, and making a new one.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api";
import { count } from "../format";
import { navigate, route, writeHash } from "../router";
import type { PlaylistSummary } from "../types";
import { Button, Empty, Failure, Icon, Loading } from "../ui";
import { Make } from "./make";
import { OnePlaylist } from "./one";
import { long } from "./order";
import "./playlists.css";

export default function PlaylistsView() {
  const name = route.value.rest;
  if (route.value.parameters.has("new")) return <Make />;
  return name ? <OnePlaylist key={name} name={name} /> : <All />;
}

function All() {
  const all = useSignal<PlaylistSummary[] | null>(null);
  const failure = useSignal<unknown>(null);
  const load = (): void => {
    failure.value = null;
    api.playlists().then(
      (found) => {
        all.value = found;
      },
      (error: unknown) => {
        failure.value = error;
      },
    );
  };
  useEffect(load, []);
  return (
    <div class="playlists">
      <header class="view-head">
        <h1>Playlists</h1>
        {all.value && all.value.length > 0 && <NewButton />}
      </header>
      {failure.value ? (
        <Failure error={failure.value} retry={load} />
      ) : all.value ? (
        <Cards all={all.value} />
      ) : (
        <Loading />
      )}
    </div>
  );
}

function NewButton() {
  return (
    <Button
      kind="primary"
      icon="plus"
      data-testid="new-playlist"
      onClick={() => navigate("playlists", { parameters: new URLSearchParams("new=theme") })}
    >
      Make one
    </Button>
  );
}

function Cards({ all }: { all: PlaylistSummary[] }) {
  if (!all.length) {
    return (
      <Empty icon="playlists" title="No playlists yet">
        <p>Say a theme, or name two tracks and get the way from one to the other.</p>
        <NewButton />
      </Empty>
    );
  }
  return (
    <ul class="playlist-cards" data-testid="playlists">
      {all.map((one) => (
        <li key={one.name}>
          <a
            class="playlist-card"
            href={writeHash("playlists", undefined, one.name)}
            data-testid="playlist"
          >
            <span class="playlist-sign">
              <Icon name="playlists" size={24} />
            </span>
            <span class="playlist-about">
              <strong class="one-line">{one.name}</strong>
              <span class="soft small numbers">
                {count(one.tracks, "track")} · {long(one.minutes)}
              </span>
            </span>
          </a>
        </li>
      ))}
    </ul>
  );
}
