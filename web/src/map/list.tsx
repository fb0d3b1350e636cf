// The tracks beside the map: a way to everything on it without a pointer.

import { count } from "../format";
import { enqueue, playAll } from "../player";
import { saveAsPlaylist } from "../player/save";
import { toast } from "../toasts";
import { ListRow } from "./list-row";
import * as map from "./state";
import { Button } from "../ui";

const PLAYED = 200;
const SAVED = 5000;

export function List() {
  const list = map.listed.value;
  return (
    <section class="map-list" aria-label="Tracks on the map">
      <label class="field">
        Find on the map
        <input
          class="input"
          type="search"
          placeholder="Title or artist"
          value={map.finding.value}
          data-testid="map-find"
          onInput={(event) => {
            map.finding.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key === "Escape") map.finding.value = "";
          }}
        />
      </label>
      {list ? <Tracks list={list} /> : <Hint />}
    </section>
  );
}

function Hint() {
  return (
    <p class="soft small map-hint">
      What lies close together sounds alike. Choose a point to see its neighbours, or draw a lasso
      around some to make a playlist of them.
    </p>
  );
}

function Tracks({ list }: { list: map.Listed }) {
  const circled = map.selected.value.length > 0 && !map.finding.value.trim();
  const whole = circled ? map.selected.value : list.indices;
  if (!list.indices.length)
    return <p class="soft small map-hint">No track of the map is called that.</p>;
  return (
    <>
      <div class="map-list-head">
        <h2 data-testid="map-list-heading">
          {circled ? count(whole.length, "track") : list.heading}
        </h2>
        {(circled || map.focused.value !== null || map.finding.value) && (
          <Button kind="quiet" onClick={() => map.focusOn(null)} data-testid="map-clear">
            Clear
          </Button>
        )}
      </div>
      <div class="map-list-actions">
        <Button icon="play" data-testid="map-play" onClick={() => playAll(tracks(whole))}>
          Play
        </Button>
        <Button icon="enqueue" data-testid="map-enqueue" onClick={() => enqueue(tracks(whole))}>
          Queue
        </Button>
        <Button icon="save" data-testid="map-save" onClick={() => save(whole)}>
          Save
        </Button>
      </div>
      <ul class="map-tracks" data-testid="map-tracks" onKeyDown={step}>
        {list.indices.map((index) => (
          <ListRow key={map.trackAt(index).id} index={index} />
        ))}
      </ul>
      {whole.length > list.indices.length && (
        <p class="soft small">and {count(whole.length - list.indices.length, "more track")}</p>
      )}
    </>
  );
}

function tracks(indices: number[], most = PLAYED) {
  return indices.slice(0, most).map(map.trackAt);
}

function save(indices: number[]): void {
  if (indices.length > SAVED) {
    toast(`A playlist holds ${SAVED.toLocaleString("en")} tracks: the first ones are taken.`);
  }
  saveAsPlaylist(tracks(indices, SAVED));
}

/** The arrow keys go from row to row. */
function step(event: KeyboardEvent): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const list = event.currentTarget as HTMLElement;
  const rows = [...list.querySelectorAll<HTMLElement>(".map-row-go")];
  const row = (event.target as HTMLElement)
    .closest("li")
    ?.querySelector<HTMLElement>(".map-row-go");
  const now = row ? rows.indexOf(row) : -1;
  rows[now + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  event.preventDefault();
}
