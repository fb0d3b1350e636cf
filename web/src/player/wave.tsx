// The waveform of what plays: drawn by WaveSurfer from heights that the service has worked out.

import { useEffect, useRef } from "preact/hooks";
import type WaveSurfer from "wavesurfer.js";
import { peaksOf } from "../peaks";
import { audio, duration, type Entry, seek } from "../player";
import { dark, token } from "../theme";

const NONCE = document.querySelector<HTMLElement>('meta[property="csp-nonce"]')?.nonce ?? "";

function colours() {
  return {
    waveColor: token("wave"),
    progressColor: token("accent"),
    cursorColor: token("ink"),
  };
}

/** Fetched when something plays for the first time, so that the page appears at once. */
async function drawn(box: HTMLElement, entry: Entry, heights: number[]): Promise<WaveSurfer> {
  const { default: Surfer } = await import("wavesurfer.js");
  return Surfer.create({
    container: box,
    media: audio,
    url: audio.src,
    peaks: [heights.length ? heights : [0, 0]],
    duration: entry.track.duration,
    height: "auto",
    barWidth: 2,
    barGap: 1.5,
    barRadius: 2,
    barMinHeight: 2,
    normalize: true,
    cursorWidth: 1.5,
    dragToSeek: true,
    hideScrollbar: true,
    cspNonce: NONCE,
    ...colours(),
  });
}

export function PlayerWave({ entry }: { entry: Entry }) {
  const box = useRef<HTMLDivElement>(null);
  const surfer = useRef<WaveSurfer>(undefined);
  const isDark = dark.value;
  const id = entry.track.id;

  useEffect(() => {
    let gone = false;
    void peaksOf(id)
      .catch(() => [] as number[])
      .then(async (heights) => {
        if (gone || !box.current) return;
        const made = await drawn(box.current, entry, heights);
        if (gone) made.destroy();
        else surfer.current = made;
      });
    return () => {
      gone = true;
      surfer.current?.destroy();
      surfer.current = undefined;
    };
  }, [id]);
  useEffect(() => surfer.current?.setOptions(colours()), [isDark]);

  const length = duration.value || entry.track.duration || 1;
  const { start, end } = entry;
  return (
    <div class="player-wave" data-testid="player-wave">
      {start !== undefined && end !== undefined && (
        <button
          type="button"
          class="player-moment"
          data-testid="player-moment"
          title="The moment that fits: play it again"
          aria-label="Play the moment that fits again"
          style={{
            left: `${(100 * start) / length}%`,
            width: `${(100 * Math.max(0, Math.min(end, length) - start)) / length}%`,
          }}
          onClick={() => seek(start)}
        />
      )}
      <div class="player-surfer" ref={box} aria-hidden="true" />
    </div>
  );
}
