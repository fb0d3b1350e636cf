// The frame with the points, its tooltip, and the keys that move over it.

import { type Signal, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { count } from "../format";
import { play } from "../player";
import { dark, token } from "../theme";
import type { FrameWindow, MapFrame, MapListener } from "./frame-api";
import { hear, hush } from "./hover";
import { type Direction, towards } from "./near";
import * as map from "./state";
import { Tools } from "./tools";
import { Labels } from "./words";

interface Over {
  index: number;
  x: number;
  y: number;
  /** Of the map. */
  width: number;
}

const ARROWS: Record<string, Direction> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

/** The frame's calls once it runs, or why it does not; null before. */
export type Frame = Signal<MapFrame | string | null>;

export function Plot() {
  const place = useRef<HTMLIFrameElement>(null);
  const frame: Frame = useSignal(null);
  const over = useSignal<Over | null>(null);
  const view = useSignal(0);
  useEffect(() => hush, []);
  useKept(frame, view);
  const started = (): void => {
    const made = (place.current?.contentWindow as FrameWindow | null)?.map ?? UNSTARTED;
    if (typeof made !== "string") made.listen(listener(over, view));
    frame.value = made;
  };
  const points = map.plane.value;
  const size = points?.ids.length ?? 0;
  return (
    <section class="map-plot" aria-label="Map" data-testid="map-plot">
      <iframe
        ref={place}
        class="map-frame"
        src="map.html"
        title="Points of the map"
        tabIndex={-1}
        onLoad={started}
      />
      <div
        class="map-keys"
        role="application"
        tabIndex={0}
        aria-roledescription="map"
        aria-label={`Map of ${count(size, "track")}. The arrow keys go from track to track, Enter plays, plus and minus zoom.`}
        onKeyDown={(event) => {
          if (event.ctrlKey || event.metaKey || event.altKey) return;
          if (typeof frame.value === "object" && frame.value && pressed(event.key, frame.value)) {
            event.preventDefault();
          }
        }}
      />
      {typeof frame.value === "string" && (
        <p class="map-unable" role="alert">
          {frame.value} The list beside it still finds what lies near.
        </p>
      )}
      <Labels frame={frame} view={view} />
      {over.value && <Tip over={over.value} />}
      <Tools frame={frame} />
      <p class="unseen" aria-live="polite">
        {map.focused.value !== null ? spoken(map.focused.value) : ""}
      </p>
    </section>
  );
}

const UNSTARTED = "The map did not start.";

/** Keep the frame showing what the state says. */
function useKept(frame: Frame, view: Signal<number>): void {
  const placed = useRef<unknown>(null);
  const ready = useSignal(false);
  useSignalEffect(() => {
    const [plot, points] = [frame.value, map.plane.value];
    if (!plot || typeof plot === "string" || !points) return;
    void dark.value;
    const [background, accent, ink] = [token("surface"), token("accent"), token("ink")];
    plot.look({ dark: dark.value, background, accent, ink });
    if (placed.current === points) return;
    placed.current = points;
    void plot.place(points.x, points.y).then(() => {
      ready.value = true;
      view.value++;
    });
  });
  useSignalEffect(() => {
    const painting = map.painting.value;
    if (ready.value && painting) void (frame.value as MapFrame).paint(painting);
  });
  useSignalEffect(() => {
    const shown = map.shown.value;
    if (ready.value) (frame.value as MapFrame).isolate(shown);
  });
  useSignalEffect(() => {
    const marked = map.focused.value === null ? map.selected.value : [map.focused.value];
    if (ready.value) (frame.value as MapFrame).mark(marked);
    if (ready.value && map.focused.value !== null)
      (frame.value as MapFrame).show(map.focused.value);
  });
  useSignalEffect(() => {
    const mode = map.mode.value;
    if (ready.value) (frame.value as MapFrame).mode(mode);
  });
}

function listener(over: Signal<Over | null>, view: Signal<number>): MapListener {
  return {
    over(index, x, y) {
      over.value = { index, x, y, width: document.querySelector(".map-frame")?.clientWidth ?? 0 };
      if (map.hearing.value) hear(map.trackAt(index).id);
    },
    out() {
      over.value = null;
      hush();
    },
    pick(index) {
      map.focusOn(index);
    },
    lassoed(indices) {
      map.choose(indices);
    },
    cleared() {
      map.focusOn(null);
    },
    moved() {
      over.value = null;
      view.value++;
    },
    key(key, shiftKey) {
      // The frame has the focus after a click; the page's keys work all the same.
      const target = document.querySelector(".map-keys") ?? document.body;
      target.dispatchEvent(
        new KeyboardEvent("keydown", { key, shiftKey, bubbles: true, cancelable: true }),
      );
    },
  };
}

function pressed(key: string, frame: MapFrame): boolean {
  const points = map.plane.value;
  const direction = ARROWS[key];
  if (!points) return false;
  if (direction) {
    const now = map.focused.value;
    const next = now === null ? 0 : towards(points.x, points.y, now, direction);
    if (next !== null) map.focusOn(next);
    return true;
  }
  if (key === "+" || key === "=") frame.zoom(1.6);
  else if (key === "-") frame.zoom(1 / 1.6);
  else if (key === "0") frame.home();
  else if (key === "Escape") map.focusOn(null);
  else if (key === "Enter" && map.focused.value !== null) play(map.trackAt(map.focused.value));
  else return false;
  return true;
}

function spoken(index: number): string {
  const track = map.trackAt(index);
  return [track.title, track.artist, track.genre].filter(Boolean).join(", ");
}

function Tip({ over }: { over: Over }) {
  const track = map.trackAt(over.index);
  const mood = map.plane.value?.moods[over.index];
  // To the side where there is more room, and never above the edge.
  const left = over.x < over.width / 2;
  const place = {
    left: `${over.x + (left ? 14 : -14)}px`,
    top: `${Math.max(8, over.y)}px`,
    transform: left ? "translateY(-50%)" : "translate(-100%, -50%)",
  };
  return (
    <div class="map-tip" style={place} aria-hidden="true">
      <strong>{track.title}</strong>
      <span>{[track.artist, track.genre, mood].filter(Boolean).join(" · ")}</span>
    </div>
  );
}
