// One track in a list: cover with play, title, what is known of it, and whatever a view adds.

import type { ComponentChildren } from "preact";
import { dotted } from "../format";
import { hears, togglePlaying } from "../player";
import type { Track } from "../types";
import { Cover } from "./cover";
import { Icon } from "./icon";

/** The cover as a button that plays the track. */
export function PlayCover({
  track,
  moment = {},
  size = 56,
}: {
  track: Track;
  moment?: { start?: number; end?: number };
  size?: number;
}) {
  const heard = hears(track);
  return (
    <button
      type="button"
      class={heard ? "play-cover play-cover-on" : "play-cover"}
      data-testid="play"
      aria-label={heard ? `Pause ${track.title}` : `Play ${track.title}`}
      onClick={() => togglePlaying(track, moment)}
    >
      <Cover track={track} size={size} />
      <span class="play-cover-sign">
        <Icon name={heard ? "pause" : "play"} size={size > 44 ? 24 : 18} />
      </span>
    </button>
  );
}

/** Title, and below it artist, album, genre and year as far as known. */
export function TrackText({
  track,
  note,
  wraps = false,
}: {
  track: Track;
  note?: ComponentChildren;
  /** Whether a long title may take two lines. */
  wraps?: boolean;
}) {
  return (
    <span class="track-text">
      <span class={wraps ? "track-title two-lines" : "track-title one-line"} title={track.path}>
        {wraps ? breakable(track.title) : track.title}
      </span>
      <span class="track-about one-line">
        {dotted([track.artist || "Unknown artist", track.genre, track.year])}
        {note}
      </span>
    </span>
  );
}

/** Let a title that is a file's name break after its underscores. */
function breakable(title: string): ComponentChildren {
  const parts = title.split(/(?<=_)(?!_)/);
  return parts.length < 2 ? title : parts.map((part) => [part, <wbr key={part} />]);
}

export function TrackRow({
  track,
  moment = {},
  children,
}: {
  track: Track;
  moment?: { start?: number; end?: number };
  /** Buttons at the end. */
  children?: ComponentChildren;
}) {
  return (
    <div class="track-row" data-testid="track">
      <PlayCover track={track} moment={moment} size={44} />
      <TrackText track={track} />
      <span class="track-actions">{children}</span>
    </div>
  );
}
