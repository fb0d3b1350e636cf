// Numbers as a person reads them.

/** 75 → "1:15"; from an hour up "1:02:05". */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** 1 → "1 track", 2 → "2 tracks", 12345 → "12,345 tracks". */
export function count(number: number, thing: string): string {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

/** 0.41 → "41 %". */
export function percent(share: number): string {
  return `${Math.round(100 * Math.min(1, Math.max(0, share)))} %`;
}

/** Join what is known: ["Nina", "", null, 1969] → "Nina · 1969". */
export function dotted(parts: (string | number | null | undefined)[]): string {
  return parts.filter((part) => part !== "" && part !== null && part !== undefined).join(" · ");
}
