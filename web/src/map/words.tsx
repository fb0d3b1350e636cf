// The words that lie on the map.

import { type Signal, useComputed } from "@preact/signals";
import type { Frame } from "./plot";
import * as map from "./state";
import { apart, FEW, groupLabels, type Label, type PlacedLabel, titleLabels } from "./labels";

/** `view` changes whenever the points have moved on the screen. */
export function Labels({ frame, view }: { frame: Frame; view: Signal<number> }) {
  const all = useComputed<Label[]>(() => {
    const points = map.plane.value;
    if (!points || !map.groups.value) return [];
    if (points.ids.length <= FEW) return titleLabels(points.titles);
    if (map.colourBy.value === "score") return [];
    return groupLabels(map.groups.value, points.x, points.y);
  });
  const plot = frame.value;
  if (!view.value || !plot || typeof plot === "string") return null;
  const few = (map.plane.value?.ids.length ?? 0) <= FEW;
  const placed = all.value.flatMap((label): PlacedLabel[] => {
    const at = plot.position(label.index);
    return at ? [{ ...label, x: at[0], y: at[1] }] : [];
  });
  const [width, height] = plot.size();
  return (
    <div
      class={few ? "map-labels map-titles" : "map-labels"}
      aria-hidden="true"
      data-testid="map-labels"
    >
      {apart(placed, width, height).map(({ index, text, x, y }) => (
        <span key={index} style={{ transform: `translate(${x}px, ${y}px)` }}>
          <b>{text}</b>
        </span>
      ))}
    </div>
  );
}
