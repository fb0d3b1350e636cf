// Tracks in an order that one changes: by dragging, by buttons, or by Alt and the arrow keys.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { current } from "../player";
import type { Track } from "../types";
import { IconButton, TrackRow } from "../ui";
import { moved, without } from "./order";

interface Props {
  tracks: Track[];
  onChange: (tracks: Track[]) => void;
  onPlay: (place: number) => void;
  note?: (track: Track) => ComponentChildren;
}

export function Sortable({ tracks, onChange, onPlay, note }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const dragged = useSignal<number | null>(null);
  const target = useSignal<number | null>(null);
  const said = useSignal("");
  const move = (from: number, to: number): void => {
    const track = tracks[from];
    if (!track || to < 0 || to >= tracks.length || to === from) return;
    onChange(moved(tracks, from, to));
    said.value = `${track.title} is now number ${to + 1} of ${tracks.length}`;
    requestAnimationFrame(() => {
      const row = list.current?.children[to];
      row?.querySelector<HTMLElement>(to > from ? ".move-down button" : ".move-up button")?.focus();
    });
  };
  return (
    <>
      <ol class="sortable" ref={list} data-testid="playlist-tracks">
        {tracks.map((track, place) => (
          <li
            key={`${track.id} ${place}`}
            class={target.value === place ? "sortable-target" : ""}
            draggable
            onClickCapture={(event) => {
              // A track's own button would play it alone: here the list goes on after it.
              const played = (event.target as Element).closest(".play-cover");
              if (!played || current.value?.track.id === track.id) return;
              event.stopPropagation();
              onPlay(place);
            }}
            onDragStart={(event) => {
              dragged.value = place;
              event.dataTransfer?.setData("text/plain", track.title);
            }}
            onDragOver={(event) => {
              if (dragged.value === null) return;
              event.preventDefault();
              target.value = place;
            }}
            onDrop={(event) => {
              event.preventDefault();
              if (dragged.value !== null) move(dragged.value, place);
            }}
            onDragEnd={() => {
              dragged.value = null;
              target.value = null;
            }}
            onKeyDown={(event) => {
              const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
              if (!event.altKey || !by) return;
              event.preventDefault();
              move(place, place + by);
            }}
          >
            <span class="sortable-number soft small numbers" aria-hidden="true">
              {place + 1}
            </span>
            <TrackRow track={track}>
              {note && <span class="sortable-note soft small numbers">{note(track)}</span>}
              <span class="move-up-down">
                <MoveButton
                  direction="up"
                  disabled={place === 0}
                  name={track.title}
                  onClick={() => move(place, place - 1)}
                />
                <MoveButton
                  direction="down"
                  disabled={place === tracks.length - 1}
                  name={track.title}
                  onClick={() => move(place, place + 1)}
                />
              </span>
              <IconButton
                label={`Take out ${track.title}`}
                icon="close"
                size={18}
                data-testid="take-out"
                onClick={() => {
                  said.value = `${track.title} is out of the list`;
                  onChange(without(tracks, place));
                }}
              />
            </TrackRow>
          </li>
        ))}
      </ol>
      <p class="unseen" aria-live="polite">
        {said.value}
      </p>
    </>
  );
}

function MoveButton(props: {
  direction: "up" | "down";
  disabled: boolean;
  name: string;
  onClick: () => void;
}) {
  const { direction, disabled, name, onClick } = props;
  return (
    <span class={`move-${direction}`}>
      <IconButton
        label={`Move ${name} ${direction}`}
        icon={direction}
        size={18}
        disabled={disabled}
        data-testid={`move-${direction}`}
        onClick={onClick}
      />
    </span>
  );
}
