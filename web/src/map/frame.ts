/**
 * The points: a WebGL plot behind the few calls of `MapFrame`. Knows no track, only numbers.
 */

import createScatterplot, { createRenderer } from "regl-scatterplot";
import type { FrameWindow, Looks, MapFrame, MapListener, Mode, Painting } from "./frame-api";
import { fingersAsMouse } from "./touch";

/** Points as [x, y, value] columns, as the plot wants them. */
interface Columns {
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  valueA: ArrayLike<number>;
}

interface Drawing {
  /** What is to be set just before; the points then are where they were. */
  before?: () => void;
  zDataType: "categorical" | "continuous";
  preventFilterReset?: boolean;
}

type Plot = ReturnType<typeof createScatterplot>;
type Renderer = ReturnType<typeof createRenderer>;

/** Pixels around the whole map: buttons lie above and below it. */
const ABOVE = 64;
const BESIDE = 28;
const GLIDE_MS = 450;
const CLOSE = 0.02;
const CROWD = 2000;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Diameter in pixels and opacity that keep a crowd readable. */
function density(count: number): { size: number; opacity: number } {
  if (count <= 300) return { size: 11, opacity: 0.95 };
  if (count <= 2000) return { size: 8, opacity: 0.9 };
  if (count <= 10000) return { size: 5, opacity: 0.8 };
  return { size: 3, opacity: 0.65 };
}

/** Whether WebGL runs without a graphics card. */
function drawnByProcessor({ canvas }: Renderer): boolean {
  const gl = canvas.getContext("webgl");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = names ? String(gl?.getParameter(names.UNMASKED_RENDERER_WEBGL)) : "";
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

function glide(): { transition: boolean; transitionDuration: number } {
  return { transition: !calm.matches, transitionDuration: GLIDE_MS };
}

class Points implements MapFrame {
  private readonly renderer = createRenderer();
  private plot: Plot;
  private columns: Columns = { x: [], y: [], valueA: [] };
  private listener: MapListener | null = null;
  private lassoing = false;
  private looks: Record<string, string> = {};
  private states = { one: "#000000", over: "#000000" };
  private painted: string[] = [];
  private single = false;
  private drawing: Promise<void> = Promise.resolve();

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.plot = this.made(false);
    fingersAsMouse(canvas);
    window.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      this.listener?.key(event.key, event.shiftKey);
    });
  }

  /** `plain` points are squares without blending: quick to draw where there is no graphics card. */
  private made(plain: boolean): Plot {
    const plot = createScatterplot({
      canvas: this.canvas,
      renderer: this.renderer,
      colorBy: "valueA",
      lassoMinDelay: 8,
      spatialIndexUseWorker: false,
      renderPointsAsSquares: plain,
      disableAlphaBlending: plain,
    });
    this.subscribe(plot);
    return plot;
  }

  private subscribe(plot: Plot): void {
    plot.subscribe("pointOver", (index) => {
      document.body.dataset["over"] = "";
      const at = plot.getScreenPosition(index);
      if (at) this.listener?.over(index, at[0], at[1]);
    });
    plot.subscribe("pointOut", () => {
      delete document.body.dataset["over"];
      this.listener?.out();
    });
    plot.subscribe("lassoStart", () => {
      this.lassoing = true;
    });
    plot.subscribe("lassoEnd", () => {
      this.lassoing = false;
    });
    plot.subscribe("select", ({ points }) => {
      if (this.lassoing) this.listener?.lassoed([...points]);
      else if (points.length > 0) this.listener?.pick(points[0] as number);
    });
    plot.subscribe("deselect", () => this.listener?.cleared());
    plot.subscribe("view", () => this.listener?.moved());
    plot.subscribe("transitionEnd", () => this.listener?.moved());
  }

  listen(listener: MapListener): void {
    this.listener = listener;
  }

  async place(x: ArrayLike<number>, y: ArrayLike<number>): Promise<void> {
    const { size, opacity } = density(x.length);
    const crowd = x.length > CROWD;
    const plain = crowd && drawnByProcessor(this.renderer);
    if (plain) {
      this.plot.destroy();
      this.plot = this.made(true);
    }
    const ring = crowd ? 1 : 2;
    const sizes = { pointSize: size, pointSizeSelected: ring, pointOutlineWidth: ring };
    this.plot.set({ ...this.looks, ...sizes, opacity: plain ? 1 : opacity });
    this.columns = { x, y, valueA: new Float32Array(x.length) };
    await this.drawn({ zDataType: "categorical" });
    this.whole({ transition: false });
  }

  async paint({ values, continuous, colours }: Painting): Promise<void> {
    this.columns = { ...this.columns, valueA: values };
    this.painted = colours;
    const pointOrder = continuous ? byValue(values) : null;
    await this.drawn({
      before: () => {
        this.colourStates();
        this.plot.set({ pointColor: colours, pointOrder });
      },
      zDataType: continuous ? "continuous" : "categorical",
      preventFilterReset: true,
    });
  }

  /** Draw what there is by then, once earlier drawings are done: the plot ignores one that is not. */
  private drawn({ before, ...options }: Drawing): Promise<void> {
    const next = this.drawing.then(() => {
      before?.();
      const spatialIndex = before ? this.plot.get("spatialIndex") : undefined;
      return this.plot.draw(this.columns, { ...options, ...(spatialIndex && { spatialIndex }) });
    });
    this.drawing = next.catch((error: unknown) => console.warn(error));
    return next;
  }

  look({ dark, background, accent, ink }: Looks): void {
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    document.body.style.background = background;
    this.looks = { backgroundColor: background, lassoColor: accent };
    this.states = { one: accent, over: ink };
    this.plot.set(this.looks);
  }

  mode(mode: Mode): void {
    document.body.dataset["mode"] = mode;
    this.plot.set({ mouseMode: mode === "lasso" ? "lasso" : "panZoom" });
  }

  isolate(indices: number[] | null): void {
    if (indices) void this.plot.filter([...indices], { preventEvent: true });
    else void this.plot.unfilter({ preventEvent: true });
  }

  /** A single marked point has a colour of its own; several keep theirs and have a ring. */
  private colourStates(): void {
    const active = this.single ? this.painted.map(() => this.states.one) : [...this.painted];
    const hover = this.painted.map(() => this.states.over);
    // One for each colour, which the plot's types do not know of.
    this.plot.set({ pointColorActive: active, pointColorHover: hover } as unknown as object);
  }

  mark(indices: number[]): void {
    this.single = indices.length === 1;
    this.colourStates();
    if (indices.length > 0) this.plot.select([...indices], { preventEvent: true });
    else this.plot.deselect({ preventEvent: true });
  }

  show(index: number): void {
    const at = this.position(index);
    const [width, height] = this.size();
    if (!at || (inside(at[0] / width) && inside(at[1] / height))) return;
    const target: [number, number] = [
      this.columns.x[index] as number,
      this.columns.y[index] as number,
    ];
    void this.plot.zoomToLocation(target, this.plot.get("cameraDistance"), glide());
  }

  zoom(factor: number): void {
    const distance = Math.min(4, Math.max(CLOSE, this.plot.get("cameraDistance") / factor));
    const [x, y] = this.plot.get("cameraTarget");
    void this.plot.zoomToLocation([x, y], distance, glide());
  }

  home(): void {
    this.whole(glide());
  }

  private whole(gliding: { transition: boolean }): void {
    const [width, height] = this.size();
    const x = width / Math.max(1, width - 2 * BESIDE);
    const y = height / Math.max(1, height - 2 * ABOVE);
    void this.plot.zoomToArea({ x: -x, y: -y, width: 2 * x, height: 2 * y }, gliding);
  }

  size(): [number, number] {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  position(index: number): [number, number] | null {
    const at = this.plot.get("isPointsDrawn") ? this.plot.getScreenPosition(index) : undefined;
    return at ? [at[0], at[1]] : null;
  }
}

function inside(share: number): boolean {
  return share > 0.05 && share < 0.95;
}

/** Draw high values last, so that they lie on top. */
function byValue(values: ArrayLike<number>): number[] {
  const order = Array.from(values, (_, index) => index);
  return order.sort((a, b) => (values[a] as number) - (values[b] as number));
}

function start(): MapFrame | string {
  try {
    return new Points(document.getElementById("points") as HTMLCanvasElement);
  } catch (error) {
    console.warn(error);
    return "This browser cannot draw the map: it needs WebGL.";
  }
}

(window as FrameWindow).map = start();
