// The answers to a question.

import { MOST, spoken } from "../asked";
import { count } from "../format";
import { enqueue, playAll } from "../player";
import { saveAsPlaylist } from "../player/save";
import { ask, asked, asking, matches } from "../question";
import { Button } from "../ui";
import { Result } from "./result";

export function Results() {
  const found = matches.value;
  const best = Math.max(...found.map((one) => one.score));
  return (
    <section aria-label="Results" aria-busy={asking.value === "asking"}>
      <header class="results-head">
        <p class="soft small" role="status" data-testid="results-count">
          {heading(found.length)}
        </p>
        <span class="results-actions">
          <Button kind="quiet" icon="play" data-testid="play-all" onClick={() => playAll(found)}>
            Play all
          </Button>
          <Button
            kind="quiet"
            icon="enqueue"
            data-testid="enqueue-all"
            onClick={() => enqueue(found)}
          >
            Queue all
          </Button>
          <Button
            kind="quiet"
            icon="save"
            data-testid="save-all"
            onClick={() => saveAsPlaylist(found.map((one) => one.track))}
          >
            Save
          </Button>
        </span>
      </header>
      <ol
        class={asking.value === "asking" ? "results results-old" : "results"}
        data-testid="results"
      >
        {found.map((match) => (
          <Result key={match.track.id} match={match} best={best} />
        ))}
      </ol>
      {found.length >= asked.value.k && asked.value.k < MOST && (
        <p class="results-more">
          <Button
            data-testid="more"
            onClick={() => ask({ k: Math.min(MOST, asked.value.k * 2) }, { replace: true })}
          >
            Show more
          </Button>
        </p>
      )}
    </section>
  );
}

/** "The best 20: slow jazz"; where there are fewer than asked for, "3 tracks: slow jazz". */
function heading(found: number): string {
  const many = found >= asked.value.k ? `The best ${found}` : count(found, "track");
  return `${many}: ${spoken(asked.value)}`;
}
