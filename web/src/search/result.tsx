// One answer: what it is, where in it the moment lies, how well it fits, and what to do with it.

import { clock, percent } from "../format";
import { current, enqueue, play } from "../player";
import { likeLess, likeMore } from "../question";
import type { Match, Track } from "../types";
import { Icon, IconButton, PlayCover, TrackText, Wave } from "../ui";

export function Result({ match, best }: { match: Match; best: number }) {
  const { track, start, end } = match;
  const moment = { start, end };
  const on = current.value?.track.id === track.id;
  return (
    <li class={on ? "result result-on" : "result"} data-result data-testid="result">
      <PlayCover track={track} moment={moment} size={64} />
      <div class="result-text">
        <TrackText track={track} wraps note={match.also.length > 0 && <Copies of={match.also} />} />
        {track.problem && (
          <span class="result-problem small" title={track.problem}>
            <Icon name="alert" size={14} />
            <span class="one-line">{track.problem}</span>
          </span>
        )}
      </div>
      <div class="result-wave">
        <Wave track={track} moment={moment} />
        <button
          type="button"
          class="result-moment numbers"
          data-testid="play-moment"
          title="The moment that fits best"
          style={{ "--at": `${(100 * start) / (track.duration || 1)}%` }}
          onClick={() => play(track, moment)}
        >
          <span class="unseen">Play {track.title}, </span>
          {clock(start)}–{clock(end)}
        </button>
      </div>
      <Score match={match} best={best} />
      <div class="result-actions">
        <span class="result-steer">
          <Steer sign="plus" track={track} onClick={() => likeMore(track)}>
            More
          </Steer>
          <Steer sign="minus" track={track} onClick={() => likeLess(track)}>
            Less
          </Steer>
        </span>
        <IconButton
          label={`Add ${track.title} to the queue`}
          icon="enqueue"
          data-testid="enqueue"
          onClick={() => enqueue([{ track, start, end }])}
        />
      </div>
    </li>
  );
}

/** "More like this" and "Less like this". */
function Steer({
  sign,
  track,
  onClick,
  children,
}: {
  sign: "plus" | "minus";
  track: Track;
  onClick: () => void;
  children: string;
}) {
  return (
    <button
      type="button"
      class="steer"
      data-testid={`${children.toLowerCase()}-like-this`}
      onClick={onClick}
    >
      <Icon name={sign} size={14} />
      {children} like this
      <span class="unseen">: {track.title}</span>
    </button>
  );
}

/** How many near-duplicates were folded into an answer; their places on pointing at it. */
function Copies({ of: tracks }: { of: Track[] }) {
  const many = tracks.length === 1 ? "1 copy" : `${tracks.length} copies`;
  return <span title={tracks.map((one) => one.path).join("\n")}> · {many}</span>;
}

/** How well it fits beside the best answer, and how sure that is. */
function Score({ match, best }: { match: Match; best: number }) {
  const share = best > 0 ? Math.max(0.02, match.score / best) : 0.02;
  const sure = percent(match.calibrated);
  return (
    <div
      class="score"
      data-testid="score"
      title={`Score ${match.score.toFixed(3)}; ${sure} sure that it has to do with the question`}
    >
      <span class="score-bar" aria-hidden="true">
        <span style={{ width: `${100 * Math.min(1, share)}%` }} />
      </span>
      <span class="score-number numbers">
        <span class="unseen">Score </span>
        {match.score.toFixed(2)}
      </span>
    </div>
  );
}
