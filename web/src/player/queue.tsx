// The queue: what plays next, and what is to become a playlist.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { clock, count } from "../format";
import { clearQueue, moveInQueue, playAt, position, queue, removeFromQueue } from "../player";
import { Button, Cover, Empty, IconButton, TrackText } from "../ui";
import { saveAsPlaylist } from "./save";

export const queueOpen = signal(false);

export function closeQueue(): void {
  queueOpen.value = false;
  document.querySelector<HTMLElement>('[data-testid="queue-button"]')?.focus();
}

export function QueuePanel() {
  const panel = useRef<HTMLElement>(null);
  useEffect(() => panel.current?.focus(), []);
  const entries = queue.value;
  const seconds = entries.reduce((sum, { track }) => sum + track.duration, 0);
  return (
    <aside
      ref={panel}
      class="queue"
      id="queue"
      aria-label="Queue"
      tabIndex={-1}
      data-testid="queue"
    >
      <header class="queue-head">
        <h2>Queue</h2>
        {entries.length > 0 && (
          <span class="soft small numbers">
            {count(entries.length, "track")} · {clock(seconds)}
          </span>
        )}
        <IconButton label="Close the queue" icon="close" onClick={closeQueue} />
      </header>
      {entries.length ? (
        <>
          <ol class="queue-list">
            {entries.map((entry, place) => (
              <Row key={`${entry.track.id} ${place}`} place={place} />
            ))}
          </ol>
          <footer class="queue-foot">
            <Button
              kind="primary"
              icon="save"
              data-testid="queue-save"
              onClick={() => saveAsPlaylist(entries.map((entry) => entry.track))}
            >
              Save as playlist
            </Button>
            <Button kind="quiet" onClick={clearQueue} data-testid="queue-clear">
              Clear
            </Button>
          </footer>
        </>
      ) : (
        <Empty icon="enqueue" title="Nothing queued">
          Add tracks from the results, the map or a playlist; then play them in a row, or save them.
        </Empty>
      )}
    </aside>
  );
}

function Row({ place }: { place: number }) {
  const entry = queue.value[place];
  if (!entry) return null;
  const { track } = entry;
  const last = queue.value.length - 1;
  const now = place === position.value;
  return (
    <li class={now ? "queue-row queue-row-on" : "queue-row"} data-testid="queue-row">
      <button
        type="button"
        class="queue-play"
        title="Play"
        aria-current={now ? "true" : undefined}
        onClick={() => playAt(place)}
      >
        <Cover track={track} size={40} />
        <TrackText track={track} wraps />
      </button>
      <span class="queue-actions">
        <IconButton
          label={`Move ${track.title} up`}
          icon="up"
          size={16}
          disabled={place === 0}
          onClick={() => moveInQueue(place, -1)}
        />
        <IconButton
          label={`Move ${track.title} down`}
          icon="down"
          size={16}
          disabled={place === last}
          onClick={() => moveInQueue(place, 1)}
        />
        <IconButton
          label={`Take ${track.title} out`}
          icon="close"
          size={16}
          onClick={() => removeFromQueue(place)}
        />
      </span>
    </li>
  );
}
