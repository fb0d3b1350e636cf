// Buttons: with words, or an icon with a name for those who do not see it.

import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { Icon, type IconName } from "./icon";

type Kind = "plain" | "primary" | "quiet";
type Rest = Omit<ButtonHTMLAttributes<HTMLButtonElement>, "class" | "className"> & {
  "data-testid"?: string;
};

export function Button({
  kind = "plain",
  icon,
  children,
  ...rest
}: Rest & { kind?: Kind; icon?: IconName; children: ComponentChildren }) {
  return (
    <button type="button" {...rest} class={`button button-${kind}`}>
      {icon && <Icon name={icon} size={18} />}
      <span>{children}</span>
    </button>
  );
}

export function IconButton({
  label,
  icon,
  size = 20,
  strong = false,
  ...rest
}: Rest & { label: string; icon: IconName; size?: number; strong?: boolean }) {
  return (
    <button
      type="button"
      title={label}
      {...rest}
      aria-label={label}
      class={strong ? "icon-button icon-button-strong" : "icon-button"}
    >
      <Icon name={icon} size={size} />
    </button>
  );
}
