// A track's picture; where there is none, a pattern of its own, always the same for the same track.

import { useState } from "preact/hooks";
import { coverUrl } from "../api";
import type { Track } from "../types";
import { artOf } from "./art";

const missing = new Set<string>(); // so that a cover that is not there is asked for once

export function Cover({ track, size = 56 }: { track: Track; size?: number }) {
  const [failed, setFailed] = useState(false);
  const art = artOf(track.id);
  const absent = failed || missing.has(track.id);
  return (
    <span class="cover" style={{ "--cover": `${size}px`, "--hue": String(art.hue) }}>
      <svg viewBox="0 0 32 32" aria-hidden="true" width={size} height={size}>
        {art.bars.map((height, place) => (
          <rect
            key={place}
            x={5 + place * 4.667}
            y={16 - height / 2}
            width="2.667"
            height={height}
            rx="1.333"
          />
        ))}
      </svg>
      {!absent && (
        <img
          key={track.id}
          src={coverUrl(track.id)}
          alt=""
          width={size}
          height={size}
          loading="lazy"
          decoding="async"
          onError={() => {
            missing.add(track.id);
            setFailed(true);
          }}
        />
      )}
    </span>
  );
}
