// All tracks, page by page, or those whose names fit.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api";
import { clock, count } from "../format";
import { enqueue } from "../player";
import { similarTo } from "../question";
import type { Track } from "../types";
import { Button, Failure, IconButton, Loading, TrackRow } from "../ui";

const PAGE = 25;
const WAIT_MS = 200;

export function Browse() {
  const find = useSignal("");
  const offset = useSignal(0);
  const page = useSignal<{ total: number; tracks: Track[] } | null>(null);
  const failure = useSignal<unknown>(null);
  const again = useSignal(0);
  useEffect(() => {
    const mine = new AbortController();
    const timer = setTimeout(
      () => {
        const asking = {
          offset: offset.value,
          limit: PAGE,
          ...(find.value.trim() && { find: find.value.trim() }),
        };
        api.tracks(asking, mine.signal).then(
          (found) => {
            page.value = found;
            failure.value = null;
          },
          (error: unknown) => {
            if (!api.isAbort(error)) failure.value = error;
          },
        );
      },
      page.value ? WAIT_MS : 0,
    );
    return () => {
      clearTimeout(timer);
      mine.abort();
    };
  }, [find.value, offset.value, again.value]);
  return (
    <section class="browse" aria-label="Tracks">
      <header class="view-head">
        <h2>Tracks</h2>
        <input
          class="input browse-find"
          type="search"
          placeholder="Title, artist or album"
          aria-label="Find a track by name"
          maxLength={200}
          data-testid="browse-find"
          value={find.value}
          onInput={(event) => {
            find.value = event.currentTarget.value;
            offset.value = 0;
          }}
        />
      </header>
      {failure.value ? (
        <Failure error={failure.value} retry={() => again.value++} />
      ) : page.value ? (
        <Page page={page.value} offset={offset.value} onTurn={(to) => (offset.value = to)} />
      ) : (
        <Loading />
      )}
    </section>
  );
}

interface PageProps {
  page: { total: number; tracks: Track[] };
  offset: number;
  onTurn: (offset: number) => void;
}

function Page({ page, offset, onTurn }: PageProps) {
  if (!page.total) return <p class="soft">No track is called that.</p>;
  return (
    <>
      <ul data-testid="browse">
        {page.tracks.map((track) => (
          <li key={track.id}>
            <TrackRow track={track}>
              <span class="soft small numbers">{clock(track.duration)}</span>
              <IconButton
                label={`Search for more like ${track.title}`}
                icon="search"
                size={18}
                onClick={() => similarTo(track)}
              />
              <IconButton
                label={`Put ${track.title} into the queue`}
                icon="enqueue"
                size={18}
                onClick={() => enqueue([track])}
              />
            </TrackRow>
          </li>
        ))}
      </ul>
      <nav class="pages" aria-label="Pages of tracks">
        <Button disabled={offset === 0} onClick={() => onTurn(Math.max(0, offset - PAGE))}>
          Back
        </Button>
        <span class="soft small numbers">
          {(offset + 1).toLocaleString("en")} to{" "}
          {(offset + page.tracks.length).toLocaleString("en")} of {count(page.total, "track")}
        </span>
        <Button disabled={offset + PAGE >= page.total} onClick={() => onTurn(offset + PAGE)}>
          On
        </Button>
      </nav>
    </>
  );
}
