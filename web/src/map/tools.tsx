// The buttons that lie on the map.

import type { ComponentChildren } from "preact";
import { stopPreview } from "../player";
import { IconButton } from "../ui";
import type { Mode } from "./frame-api";
import type { Frame } from "./plot";
import * as map from "./state";

export function Tools({ frame }: { frame: Frame }) {
  const plot = frame.value;
  if (!plot || typeof plot === "string") return null;
  return (
    <>
      <div class="map-tools map-tools-left" role="group" aria-label="Pointer">
        <ModeButton mode="pan">Move</ModeButton>
        <ModeButton mode="lasso">Lasso</ModeButton>
      </div>
      <div class="map-tools map-tools-right" role="group" aria-label="Zoom">
        <IconButton
          label="Zoom in"
          icon="plus"
          data-testid="zoom-in"
          onClick={() => plot.zoom(1.6)}
        />
        <IconButton
          label="Zoom out"
          icon="minus"
          data-testid="zoom-out"
          onClick={() => plot.zoom(1 / 1.6)}
        />
        <button type="button" class="map-whole" data-testid="zoom-all" onClick={() => plot.home()}>
          All
        </button>
      </div>
      <label class="map-tools map-hear">
        <input
          type="checkbox"
          role="switch"
          checked={map.hearing.value}
          data-testid="hear-on-hover"
          onChange={(event) => {
            map.hearing.value = event.currentTarget.checked;
            if (!map.hearing.value) stopPreview({ resume: true });
          }}
        />
        Hear on hover
      </label>
    </>
  );
}

function ModeButton({ mode, children }: { mode: Mode; children: ComponentChildren }) {
  return (
    <button
      type="button"
      class="segment"
      aria-pressed={map.mode.value === mode}
      data-testid={`mode-${mode}`}
      onClick={() => {
        map.mode.value = mode;
      }}
    >
      {children}
    </button>
  );
}
