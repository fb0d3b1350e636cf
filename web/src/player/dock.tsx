// The player at the foot of the page.

import { clock } from "../format";
import {
  buffering,
  closePlayer,
  current,
  duration,
  hasNext,
  next,
  playing,
  previous,
  queue,
  seek,
  setVolume,
  time,
  toggle,
  volume,
} from "../player";
import { likeMore } from "../question";
import { hush } from "../toasts";
import type { Track } from "../types";
import { Cover, Icon, IconButton, TrackText } from "../ui";
import { queueOpen } from "./queue";
import { PlayerWave } from "./wave";

export function Dock() {
  const entry = current.value;
  const track = entry?.track;
  return (
    <section
      class={buffering.value ? "dock dock-waits" : "dock"}
      aria-label="Player"
      data-testid="dock"
      data-state={playing.value ? "playing" : "paused"}
    >
      <div class="dock-inside">
        <div class="dock-track">
          {track ? (
            <>
              <Cover key={track.id} track={track} size={48} />
              <TrackText track={track} />
            </>
          ) : (
            <span class="soft small">Nothing plays yet</span>
          )}
        </div>
        <Controls />
        {track ? <Position track={track} /> : <span class="dock-time" />}
        {entry ? <PlayerWave key={entry.track.id} entry={entry} /> : <span class="player-wave" />}
        <div class="dock-end">
          {track && (
            <IconButton
              label={`More like ${track.title}`}
              icon="plus"
              onClick={() => likeMore(track)}
            />
          )}
          <Volume />
          <span class="queue-button">
            <IconButton
              label="Queue"
              icon="queue"
              aria-expanded={queueOpen.value}
              aria-controls="queue"
              data-testid="queue-button"
              onClick={() => {
                queueOpen.value = !queueOpen.value;
                hush("queue");
              }}
            />
            {queue.value.length > 0 && (
              <span class="queue-count" aria-hidden="true">
                {queue.value.length}
              </span>
            )}
          </span>
          <span class="dock-close">
            <IconButton label="Close the player" icon="close" size={18} onClick={closePlayer} />
          </span>
        </div>
      </div>
    </section>
  );
}

function Controls() {
  return (
    <div class="dock-controls">
      <IconButton label="Back" icon="previous" onClick={previous} data-testid="previous" />
      <IconButton
        label={playing.value ? "Pause" : "Play"}
        icon={playing.value ? "pause" : "play"}
        size={22}
        strong
        data-testid="dock-play"
        onClick={toggle}
      />
      <IconButton
        label="Next"
        icon="next"
        disabled={!hasNext.value}
        onClick={next}
        data-testid="next"
      />
    </div>
  );
}

/** The time, and a slider for those who use keys or listen to the page. */
function Position({ track }: { track: Track }) {
  const length = duration.value || track.duration;
  return (
    <div class="dock-time numbers">
      <span data-testid="dock-time">{clock(time.value)}</span>
      <span aria-hidden="true">/</span>
      <span>{clock(length)}</span>
      <input
        class="unseen"
        type="range"
        min={0}
        max={Math.max(1, Math.floor(length))}
        step={1}
        value={Math.floor(time.value)}
        aria-label="Position"
        aria-valuetext={`${clock(time.value)} of ${clock(length)}`}
        onInput={(event) => seek(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

function Volume() {
  return (
    <label class="volume" title="Volume">
      <Icon name="volume" size={18} />
      <span class="unseen">Volume</span>
      <input
        type="range"
        min={0}
        max={1}
        step={0.05}
        value={volume.value}
        style={{ "--share": `${100 * volume.value}%` }}
        onInput={(event) => setVolume(event.currentTarget.valueAsNumber)}
      />
    </label>
  );
}
