/**
 * What the page and the frame with the points say to each other: plain function calls, for both
 * come from the same origin. The frame is given numbers and colours only, never a word, because it
 * is the one place where code may be compiled at run time.
 */

/** What the pointer does on the map. */
export type Mode = "pan" | "lasso";

/** How the points are coloured: a number per point, and the colours those numbers stand for. */
export interface Painting {
  /** A category per point, or where `continuous` a value from 0 to 1. */
  values: ArrayLike<number>;
  continuous: boolean;
  /** Hex colours: one per category, or a ramp from 0 to 1. */
  colours: string[];
}

export interface Looks {
  dark: boolean;
  background: string;
  accent: string;
  ink: string;
}

/** What happens in the frame. Positions are pixels from its top left corner. */
export interface MapListener {
  over(index: number, x: number, y: number): void;
  out(): void;
  pick(index: number): void;
  lassoed(indices: number[]): void;
  cleared(): void;
  moved(): void;
  key(key: string, shift: boolean): void;
}

export interface MapFrame {
  listen(listener: MapListener): void;
  /** Show points at x and y, from -1 to 1. */
  place(x: ArrayLike<number>, y: ArrayLike<number>): Promise<void>;
  paint(painting: Painting): Promise<void>;
  look(looks: Looks): void;
  mode(mode: Mode): void;
  /** Show only these points; null for all. */
  isolate(indices: number[] | null): void;
  mark(indices: number[]): void;
  /** Bring a point to the middle, unless it is well in view. */
  show(index: number): void;
  zoom(factor: number): void;
  home(): void;
  position(index: number): [number, number] | null;
  /** Width and height in pixels. */
  size(): [number, number];
}

/** Set by the frame once it runs; a text says why it cannot. */
export interface FrameWindow extends Window {
  map?: MapFrame | string;
}
