// A track's waveform, small: the moment that fits is marked, a click plays from there.

import { useEffect, useRef, useState } from "preact/hooks";
import { barsOf } from "../bars";
import { peaksOf } from "../peaks";
import { current, play, time } from "../player";
import { dark, token } from "../theme";
import type { Track } from "../types";

const BAR = 2;
const GAP = 1.5;

interface Moment {
  start: number;
  end: number;
}

export function Wave({ track, moment }: { track: Track; moment: Moment }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const heights = useHeights(track.id, box);
  const width = useWidth(box);
  const heard = current.value?.track.id === track.id;
  const played = heard ? time.value : -1;
  const isDark = dark.value;

  useEffect(() => {
    if (canvas.current && width) draw(canvas.current, { width, heights, track, moment, played });
  }, [heights, width, played, isDark, track.id, moment.start, moment.end]);

  // A shortcut for the pointer; the button on the cover does the same for everybody.
  const playFrom = (event: MouseEvent): void => {
    const area = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
    play(track, { ...moment, start: share * track.duration });
  };
  const share = (seconds: number): number => (100 * seconds) / (track.duration || 1);
  return (
    <div class="wave" ref={box} aria-hidden="true" data-testid="wave" onClick={playFrom}>
      <span
        class="wave-moment"
        data-testid="moment"
        data-start={moment.start}
        data-end={moment.end}
        style={{
          left: `${share(moment.start)}%`,
          width: `${Math.max(0.5, share(Math.min(moment.end, track.duration) - moment.start))}%`,
        }}
      />
      <canvas ref={canvas} />
    </div>
  );
}

/** The heights, once the waveform has come into view; null until then, [] if there are none. */
function useHeights(id: string, box: { current: HTMLElement | null }): number[] | null {
  const [heights, setHeights] = useState<{ id: string; heights: number[] } | null>(null);
  useEffect(() => {
    if (!box.current) return;
    let gone = false;
    const keep = (found: number[]): void => {
      if (!gone) setHeights({ id, heights: found });
    };
    const watch = new IntersectionObserver(
      (seen) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        watch.disconnect();
        // Without heights the line stays flat; the moment is marked all the same.
        peaksOf(id).then(keep, () => keep([]));
      },
      { rootMargin: "200px" },
    );
    watch.observe(box.current);
    return () => {
      gone = true;
      watch.disconnect();
    };
  }, [id]);
  return heights?.id === id ? heights.heights : null;
}

function useWidth(box: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!box.current) return;
    const watch = new ResizeObserver(([entry]) =>
      setWidth(Math.floor(entry?.contentRect.width ?? 0)),
    );
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return width;
}

interface Drawing {
  width: number;
  heights: number[] | null;
  track: Track;
  moment: Moment;
  /** Seconds that have been heard; negative if it does not play. */
  played: number;
}

function draw(canvas: HTMLCanvasElement, { width, heights, track, moment, played }: Drawing): void {
  const height = canvas.parentElement?.clientHeight ?? 40;
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.scale(scale, scale);
  const [plain, accent, ink] = [token("wave"), token("accent"), token("ink-soft")];
  const bars = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
  const shape = heights?.length ? barsOf(heights, bars) : new Array<number>(bars).fill(0);
  const second = (track.duration || 1) / bars;
  shape.forEach((share, place) => {
    const at = (place + 0.5) * second;
    const inside = at >= moment.start && at <= moment.end;
    pen.fillStyle = inside ? accent : at <= played ? ink : plain;
    const tall = Math.max(2, share * (height - 4));
    pen.beginPath();
    pen.roundRect(place * (BAR + GAP), (height - tall) / 2, BAR, tall, 1);
    pen.fill();
  });
  if (played >= 0) {
    pen.fillStyle = token("ink");
    pen.fillRect((played / (track.duration || 1)) * width - 0.75, 0, 1.5, height);
  }
}
