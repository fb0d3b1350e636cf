// One chart of curves over steps, readable by pointer, by keys, and as a table.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { at, type Chart, extent, type Line, short, stops, thin, ticks, told } from "./curves";

const HEIGHT = 240;
const LEFT = 48;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;
const ROWS = 40;

export function CurveChart({ chart, best }: { chart: Chart; best: number | null }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useSignal(480);
  const reading = useSignal<number | null>(null);
  useEffect(() => {
    if (!box.current) return;
    const watch = new ResizeObserver(([entry]) => {
      width.value = Math.max(240, entry?.contentRect.width ?? 480);
    });
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const { steps, values } = extent(chart.lines);
  const span = steps[1] - steps[0] || 1;
  const x = (step: number): number =>
    LEFT + ((step - steps[0]) / span) * (width.value - LEFT - RIGHT);
  const y = (value: number): number =>
    TOP + (1 - (value - values[0]) / (values[1] - values[0])) * (HEIGHT - TOP - BOTTOM);
  const all = stops(chart.lines);
  const move = (by: number): void => {
    const now = reading.value === null ? (by > 0 ? -1 : all.length) : all.indexOf(reading.value);
    reading.value = all[Math.min(all.length - 1, Math.max(0, now + by))] ?? null;
  };
  const point = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    reading.value = closest(all, steps[0] + share * span);
  };
  return (
    <figure class="card chart" data-testid="chart">
      <figcaption>
        <h3>{chart.title}</h3>
        <Key chart={chart} reading={reading.value} />
      </figcaption>
      <div ref={box}>
        <svg
          width={width.value}
          height={HEIGHT}
          viewBox={`0 0 ${width.value} ${HEIGHT}`}
          role="img"
          tabIndex={0}
          aria-label={`${told(chart)} The arrow keys read single steps.`}
          onPointerMove={point}
          onPointerLeave={() => {
            reading.value = null;
          }}
          onBlur={() => {
            reading.value = null;
          }}
          onKeyDown={(event) => {
            if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
            move(event.key === "ArrowRight" ? 1 : -1);
            event.preventDefault();
          }}
        >
          <Axes x={x} y={y} steps={steps} values={values} width={width.value} />
          {best !== null && best >= steps[0] && best <= steps[1] && (
            <line class="chart-best" x1={x(best)} x2={x(best)} y1={TOP} y2={HEIGHT - BOTTOM} />
          )}
          {chart.lines.map((line, place) => (
            <polyline
              key={line.name}
              class={`chart-line ${kindOf(line, place)}`}
              points={path(line, x, y)}
            />
          ))}
          {reading.value !== null && (
            <Reading lines={chart.lines} step={reading.value} x={x} y={y} />
          )}
        </svg>
      </div>
      <Table chart={chart} />
    </figure>
  );
}

type Scale = (value: number) => number;

function kindOf(line: Line, place: number): string {
  return `chart-${place % 6}${line.faint ? " chart-faint" : line.dashed ? " chart-dashed" : ""}`;
}

function path(line: Line, x: Scale, y: Scale): string {
  return line.points
    .map(({ step, value }) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`)
    .join(" ");
}

function closest(all: number[], step: number): number | null {
  let best: number | null = null;
  for (const one of all)
    if (best === null || Math.abs(one - step) < Math.abs(best - step)) best = one;
  return best;
}

function Axes(props: {
  x: Scale;
  y: Scale;
  steps: [number, number];
  values: [number, number];
  width: number;
}) {
  const { x, y, steps, values, width } = props;
  return (
    <g class="chart-axes" aria-hidden="true">
      {ticks(values[0], values[1], 4).map((value) => (
        <g key={value}>
          <line x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} />
          <text x={LEFT - 8} y={y(value) + 4} text-anchor="end">
            {short(value)}
          </text>
        </g>
      ))}
      {ticks(steps[0], steps[1], width / 110).map((step) => (
        <text key={step} x={x(step)} y={HEIGHT - 6} text-anchor="middle">
          {short(step)}
        </text>
      ))}
    </g>
  );
}

function Reading({ lines, step, x, y }: { lines: Line[]; step: number; x: Scale; y: Scale }) {
  return (
    <g aria-hidden="true">
      <line class="chart-reading" x1={x(step)} x2={x(step)} y1={TOP} y2={HEIGHT - BOTTOM} />
      {lines.map((line, place) => {
        const found = line.faint ? null : at(line, step);
        return (
          found && (
            <circle
              key={line.name}
              class={`chart-dot chart-${place % 6}`}
              cx={x(step)}
              cy={y(found.value)}
              r="4"
            />
          )
        );
      })}
    </g>
  );
}

/** The names of the lines, with their values where one is reading. */
function Key({ chart, reading }: { chart: Chart; reading: number | null }) {
  return (
    <p class="chart-key small" aria-live="polite">
      {chart.lines.map((line, place) => {
        const found = reading === null ? null : at(line, reading);
        if (chart.lines.length === 1 && !found) return null; // the title says it
        return (
          <span key={line.name} class={`chart-name ${kindOf(line, place)}`}>
            <i aria-hidden="true" />
            {line.name}
            {found && <b class="numbers">{short(found.value)}</b>}
          </span>
        );
      })}
      {reading !== null && <span class="soft numbers">step {reading.toLocaleString("en")}</span>}
    </p>
  );
}

function Table({ chart }: { chart: Chart }) {
  const rows = thin(
    stops(chart.lines).map((step) => ({ step, value: 0 })),
    ROWS,
  );
  return (
    <details class="chart-numbers">
      <summary class="small soft">Numbers</summary>
      <div class="scrolled" tabIndex={0} role="region" aria-label={`${chart.title} as a table`}>
        <table class="numbers">
          <thead>
            <tr>
              <th scope="col">step</th>
              {chart.lines.map((line) => (
                <th key={line.name} scope="col">
                  {line.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ step }) => (
              <tr key={step}>
                <th scope="row">{step.toLocaleString("en")}</th>
                {chart.lines.map((line) => {
                  const found = at(line, step);
                  return <td key={line.name}>{found ? short(found.value) : "—"}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
