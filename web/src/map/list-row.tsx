// One track of the list beside the map.

import { PlayCover, TrackText } from "../ui";
import * as map from "./state";

export function ListRow({ index }: { index: number }) {
  const track = map.trackAt(index);
  const here = map.focused.value === index;
  return (
    <li class={here ? "map-row map-row-here" : "map-row"} data-testid="map-row">
      <PlayCover track={track} size={40} />
      <button
        type="button"
        class="map-row-go"
        aria-current={here ? "location" : undefined}
        aria-description="Show what lies near"
        onClick={() => map.focusOn(index)}
      >
        <TrackText track={track} />
      </button>
    </li>
  );
}
