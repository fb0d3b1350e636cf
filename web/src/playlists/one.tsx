// One playlist: play it, put it in another order, keep it as a file.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api";
import { clock, count } from "../format";
import { enqueue, playAll } from "../player";
import { navigate, writeHash } from "../router";
import { toast, toastError } from "../toasts";
import type { Playlist, Track } from "../types";
import { Button, Dialog, Empty, Failure, Icon, IconButton, Loading } from "../ui";
import { long } from "./order";
import { Sortable } from "./sortable";

export function OnePlaylist({ name }: { name: string }) {
  const list = useSignal<Playlist | null>(null);
  const failure = useSignal<unknown>(null);
  const load = (): void => {
    failure.value = null;
    api.playlist(name).then(
      (found) => {
        list.value = found;
      },
      (error: unknown) => {
        failure.value = error;
      },
    );
  };
  useEffect(load, [name]);
  // What one sees changes at once; what the service refuses is undone.
  const keep = async (tracks: Track[]): Promise<void> => {
    const before = list.value;
    if (!before) return;
    list.value = { ...before, tracks };
    try {
      list.value = await api.savePlaylist(
        name,
        tracks.map((track) => track.id),
      );
    } catch (error) {
      list.value = before;
      toastError(error);
    }
  };
  return (
    <div class="playlists">
      <a class="back" href={writeHash("playlists")}>
        <Icon name="back" size={18} />
        Playlists
      </a>
      {failure.value ? (
        <Failure error={failure.value} retry={load} />
      ) : list.value ? (
        <Shown list={list.value} keep={keep} />
      ) : (
        <Loading />
      )}
    </div>
  );
}

function Shown({ list, keep }: { list: Playlist; keep: (tracks: Track[]) => Promise<void> }) {
  return (
    <>
      <header class="view-head">
        <div>
          <h1 data-testid="playlist-title">{list.name}</h1>
          <p class="soft small numbers">
            {count(list.tracks.length, "track")} · {long(list.minutes)}
          </p>
        </div>
        <Actions list={list} />
      </header>
      {list.missing.length > 0 && <Missing paths={list.missing} />}
      {list.tracks.length ? (
        <Sortable
          tracks={list.tracks}
          onChange={(tracks) => void keep(tracks)}
          onPlay={(at) => playAll(list.tracks, at)}
          note={(track) => clock(track.duration)}
        />
      ) : (
        <Empty icon="playlists" title="This playlist is empty">
          <p>Save a search, the queue or a part of the map under its name to fill it.</p>
        </Empty>
      )}
    </>
  );
}

function Actions({ list }: { list: Playlist }) {
  const asking = useSignal(false);
  return (
    <div class="playlist-actions">
      <Button
        kind="primary"
        icon="play"
        disabled={!list.tracks.length}
        data-testid="play-playlist"
        onClick={() => playAll(list.tracks)}
      >
        Play
      </Button>
      <Button icon="enqueue" disabled={!list.tracks.length} onClick={() => enqueue(list.tracks)}>
        Queue
      </Button>
      <a
        class="button button-plain"
        href={api.playlistFileUrl(list.name)}
        download={`${list.name}.m3u8`}
        data-testid="download"
      >
        <Icon name="download" size={18} />
        <span>m3u8</span>
      </a>
      <IconButton
        label="Delete the playlist"
        icon="trash"
        data-testid="delete-playlist"
        onClick={() => {
          asking.value = true;
        }}
      />
      {asking.value && (
        <Deleting
          list={list}
          onClose={() => {
            asking.value = false;
          }}
        />
      )}
    </div>
  );
}

function Deleting({ list, onClose }: { list: Playlist; onClose: () => void }) {
  const remove = async (): Promise<void> => {
    try {
      await api.deletePlaylist(list.name);
      navigate("playlists", { replace: true });
      const ids = list.tracks.map((track) => track.id);
      const restore = (): void => {
        api
          .savePlaylist(list.name, ids)
          .then(() => navigate("playlists", { rest: list.name }), toastError);
      };
      toast(`Deleted ${list.name}`, { action: { label: "Undo", run: restore } });
    } catch (error) {
      toastError(error);
    }
  };
  return (
    <Dialog title={`Delete ${list.name}?`} onClose={onClose}>
      <div class="playlist-deleting">
        <p class="soft">Only the list goes. The tracks and their files stay as they are.</p>
        <Button kind="primary" data-testid="delete-really" onClick={() => void remove()}>
          Delete
        </Button>
      </div>
    </Dialog>
  );
}

function Missing({ paths }: { paths: string[] }) {
  return (
    <details class="playlist-missing">
      <summary>{count(paths.length, "track")} no longer in the library</summary>
      <ul class="small">
        {paths.map((path) => (
          <li key={path}>{path}</li>
        ))}
      </ul>
    </details>
  );
}
