// What a view shows when it has nothing to show: why, and what to do.

import type { ComponentChildren } from "preact";
import { Problem } from "../api";
import { Button } from "./button";
import { Icon, type IconName } from "./icon";

export function Empty({
  icon = "sound",
  title,
  children,
}: {
  icon?: IconName;
  title: string;
  children?: ComponentChildren;
}) {
  return (
    <div class="state" data-testid="empty">
      <span class="state-icon">
        <Icon name={icon} size={28} />
      </span>
      <h2>{title}</h2>
      {children && <div class="state-text">{children}</div>}
    </div>
  );
}

export function Loading({ children = "Loading …" }: { children?: ComponentChildren }) {
  return (
    <div class="state" role="status" data-testid="loading">
      <span class="state-wave" aria-hidden="true">
        <i />
        <i />
        <i />
        <i />
        <i />
      </span>
      <p class="soft">{children}</p>
    </div>
  );
}

export function Failure({
  error,
  title = "That did not work",
  retry,
}: {
  error: unknown;
  title?: string;
  retry?: () => void;
}) {
  const busy = error instanceof Problem && error.status === 503;
  return (
    <div class="state" role="alert" data-testid="failure">
      <span class="state-icon state-icon-bad">
        <Icon name="alert" size={28} />
      </span>
      <h2>{busy ? "A moment, please" : title}</h2>
      <div class="state-text">
        <p>{error instanceof Error ? error.message : String(error)}</p>
        {retry && <Button onClick={retry}>Try again</Button>}
      </div>
    </div>
  );
}
