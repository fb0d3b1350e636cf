// The small window that asks for a playlist's name.

import { signal } from "@preact/signals";
import { playlists, savePlaylist } from "../api";
import { count } from "../format";
import { navigate } from "../router";
import { toast } from "../toasts";
import type { Track } from "../types";
import { Button, Dialog } from "../ui";

const wanted = signal<Track[] | null>(null);
const wrong = signal("");
const busy = signal(false);

/** Ask for a name and save tracks under it. */
export function saveAsPlaylist(tracks: Track[]): void {
  if (!tracks.length) return;
  wrong.value = "";
  wanted.value = tracks;
}

async function exists(name: string): Promise<boolean> {
  return (await playlists()).some((one) => one.name === name);
}

async function save(tracks: Track[], name: string, overwrite: boolean): Promise<void> {
  busy.value = true;
  try {
    if (!overwrite && (await exists(name))) {
      wrong.value = `There is a playlist “${name}” already.`;
      return;
    }
    await savePlaylist(
      name,
      tracks.map((one) => one.id),
    );
    wanted.value = null;
    toast(`Saved “${name}”`, {
      action: { label: "Show", run: () => navigate("playlists", { rest: name }) },
    });
  } catch (error) {
    wrong.value = error instanceof Error ? error.message : String(error);
  } finally {
    busy.value = false;
  }
}

export function SaveDialog() {
  const tracks = wanted.value;
  if (!tracks) return null;
  const taken = wrong.value.startsWith("There is a playlist");
  return (
    <Dialog
      title="Save as playlist"
      onClose={() => {
        wanted.value = null;
      }}
    >
      <form
        class="save"
        onSubmit={(event) => {
          event.preventDefault();
          const name = String(new FormData(event.currentTarget).get("name")).trim();
          if (name) void save(tracks, name, taken);
        }}
      >
        <label class="field">
          Name of the playlist
          <input
            class="input"
            name="name"
            required
            autoFocus
            autocomplete="off"
            maxLength={100}
            aria-invalid={wrong.value !== ""}
            aria-describedby="save-wrong"
            data-testid="playlist-name"
            onInput={() => {
              wrong.value = "";
            }}
          />
        </label>
        <p id="save-wrong" class="login-bad" role="alert">
          {wrong.value}
        </p>
        <Button kind="primary" type="submit" disabled={busy.value} data-testid="playlist-save">
          {taken ? "Replace it" : `Save ${count(tracks.length, "track")}`}
        </Button>
      </form>
    </Dialog>
  );
}
