// A field in which one names a track of the library.

import { useSignal } from "@preact/signals";
import { useEffect, useId } from "preact/hooks";
import * as api from "../api";
import { dotted } from "../format";
import { toastError } from "../toasts";
import type { Track } from "../types";
import { IconButton, TrackRow } from "../ui";

const WAIT_MS = 180;
const OFFERED = 7;

interface Props {
  label: string;
  chosen: Track | null;
  onChoose: (track: Track | null) => void;
  testid: string;
}

export function Picker({ label, chosen, onChoose, testid }: Props) {
  const id = useId();
  if (!chosen) return <Search id={id} label={label} onChoose={onChoose} testid={testid} />;
  return (
    <div class="field" data-testid={`${testid}-chosen`}>
      {label}
      <div class="picked">
        <TrackRow track={chosen}>
          <IconButton
            label={`Another track for “${label}”`}
            icon="close"
            size={18}
            onClick={() => onChoose(null)}
          />
        </TrackRow>
      </div>
    </div>
  );
}

interface SearchProps {
  id: string;
  label: string;
  onChoose: (track: Track) => void;
  testid: string;
}

function Search({ id, label, onChoose, testid }: SearchProps) {
  const text = useSignal("");
  const offered = useOffers(text.value);
  const at = useSignal(0);
  const open = offered.length > 0 && text.value.trim() !== "";
  const now = Math.min(at.value, offered.length - 1);
  const pressed = (event: KeyboardEvent): void => {
    if (event.key === "Escape") text.value = "";
    if (!open) return;
    if (event.key === "ArrowDown") at.value = Math.min(now + 1, offered.length - 1);
    else if (event.key === "ArrowUp") at.value = Math.max(now - 1, 0);
    else if (event.key === "Enter") onChoose(offered[now] as Track);
    else return;
    event.preventDefault();
  };
  return (
    <div class="field picker">
      <label for={id}>{label}</label>
      <input
        id={id}
        class="input"
        type="text"
        role="combobox"
        autocomplete="off"
        placeholder="Title or artist"
        aria-expanded={open}
        aria-controls={`${id}-list`}
        aria-activedescendant={open ? `${id}-${now}` : undefined}
        value={text.value}
        data-testid={testid}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={pressed}
      />
      <ul id={`${id}-list`} class="picker-list" role="listbox" aria-label={label} hidden={!open}>
        {offered.map((track, place) => (
          <li
            key={track.id}
            id={`${id}-${place}`}
            role="option"
            aria-selected={place === now}
            data-testid={`${testid}-option`}
            onPointerDown={(event) => {
              event.preventDefault();
              onChoose(track);
            }}
          >
            <span class="one-line">{track.title}</span>
            <span class="one-line soft small">{dotted([track.artist, track.album])}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Tracks whose title or artist fits, asked for once the typing pauses. */
function useOffers(text: string): Track[] {
  const offered = useSignal<Track[]>([]);
  useEffect(() => {
    const find = text.trim();
    if (!find) {
      offered.value = [];
      return;
    }
    const mine = new AbortController();
    const timer = setTimeout(() => {
      api.tracks({ find, limit: OFFERED }, mine.signal).then(
        (found) => {
          offered.value = found.tracks;
        },
        (error: unknown) => {
          if (!api.isAbort(error)) toastError(error);
        },
      );
    }, WAIT_MS);
    return () => {
      clearTimeout(timer);
      mine.abort();
    };
  }, [text]);
  return offered.value;
}
