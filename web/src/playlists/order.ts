// Lists that one moves things about in. Pure.

/** The list with the item at `from` taken out and put back so that it lies at `to`. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const next = [...list];
  const [item] = next.splice(from, 1);
  if (item !== undefined) next.splice(Math.min(Math.max(0, to), next.length), 0, item);
  return next;
}

/** The list without the item at `place`. */
export function without<T>(list: readonly T[], place: number): T[] {
  return list.filter((_, index) => index !== place);
}

/** 83.4 → "1 h 23 min". */
export function long(minutes: number): string {
  const whole = Math.round(minutes);
  const [hours, rest] = [Math.floor(whole / 60), whole % 60];
  if (!hours) return `${rest} min`;
  return rest ? `${hours} h ${rest} min` : `${hours} h`;
}
