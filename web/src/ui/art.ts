// A small picture from an id: a hue and five bars. Pure.

export interface Art {
  /** Degrees. */
  hue: number;
  /** Heights, 6 to 20. */
  bars: number[];
}

export function artOf(id: string): Art {
  const noise = stirred(id);
  return {
    hue: Math.floor(noise() * 360),
    bars: Array.from({ length: 5 }, () => 6 + Math.round(noise() * 14)),
  };
}

/** Numbers 0 to 1 that follow from a text and are spread evenly (FNV-1a, then xorshift). */
function stirred(text: string): () => number {
  let state = 2166136261;
  for (let place = 0; place < text.length; place++) {
    state = Math.imul(state ^ text.charCodeAt(place), 16777619);
  }
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}
