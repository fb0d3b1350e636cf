// Line icons on a grid of 24.

const PATHS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM16.2 16.2 20.5 20.5",
  map: "M6 7.5h.01M11 5h.01M17 8.5h.01M8.5 12h.01M14 12.5h.01M19 14h.01M6 17h.01M12 18.5h.01M17 19h.01",
  playlists:
    "M4 6.5h12M4 11.5h12M4 16.5h7M18 20v-8.5l3-1M18 20a2.2 2 0 1 1-4.4 0 2.2 2 0 0 1 4.4 0Z",
  library: "M4 5v14M8.5 5v14M13 5.5v13.5M16.5 6l3.8 12.6",
  runs: "M4 4v16h16M7.5 15.5l3.5-5 3.5 3 5-7",
  play: "M8 5.2v13.6a.7.7 0 0 0 1.1.6l10-6.8a.7.7 0 0 0 0-1.2l-10-6.8A.7.7 0 0 0 8 5.2Z",
  pause: "M7.5 5.5h2.5v13H7.5ZM14 5.5h2.5v13H14Z",
  next: "M6 5.8v12.4a.6.6 0 0 0 1 .5l8.6-6.2a.6.6 0 0 0 0-1L7 5.3a.6.6 0 0 0-1 .5ZM18.5 5.5v13",
  previous:
    "M18 5.8v12.4a.6.6 0 0 1-1 .5l-8.6-6.2a.6.6 0 0 1 0-1L17 5.3a.6.6 0 0 1 1 .5ZM5.5 5.5v13",
  plus: "M12 5.5v13M5.5 12h13",
  minus: "M5.5 12h13",
  close: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  queue: "M4 6.5h16M4 11.5h9M4 16.5h9M16.5 11.5v8l5-4Z",
  enqueue: "M4 6.5h16M4 11.5h10M4 16.5h8M18 13v7M14.5 16.5h7",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1",
  moon: "M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7Z",
  system: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 4v16M12 8.5h6.5M12 12h8M12 15.5h6.5",
  sound: "M4 11v2M8 8v8M12 5v14M16 9v6M20 11v2",
  upload: "M12 15.5V4.5M7.5 8.5 12 4l4.5 4.5M4.5 15v3a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2v-3",
  filters:
    "M4 7h9M18 7h2M4 17h2M11 17h9M15.5 4.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM8.5 14.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5Z",
  trash: "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7",
  download: "M12 4.5v11M7.5 11.5 12 16l4.5-4.5M4.5 19.5h15",
  up: "M6.5 14.5 12 9l5.5 5.5",
  down: "M6.5 9.5 12 15l5.5-5.5",
  back: "M14.5 6.5 9 12l5.5 5.5",
  check: "M5.5 12.5l4.5 4.5 8.5-10",
  alert: "M12 4 3.5 19h17ZM12 10v4M12 16.6h.01",
  keyboard: "M3.5 7h17v10h-17ZM7 10.5h.01M10.5 10.5h.01M14 10.5h.01M17.3 10.5h.01M8.5 14h7",
  volume: "M4 10v4h3.5l4.5 4V6L7.5 10ZM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11",
  save: "M5 5h11l3 3v11H5ZM8.5 5v4h6V5M8 19v-6h8v6",
  folder:
    "M3.5 7a1.5 1.5 0 0 1 1.5-1.5h4l2 2.5h8a1.5 1.5 0 0 1 1.5 1.5V17a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 17Z",
  lasso:
    "M12 5c4.7 0 8.5 2.2 8.5 5s-3.8 5-8.5 5S3.5 12.8 3.5 10 7.3 5 12 5ZM7.5 14.3a2 2 0 1 0 1 3.7c0 1.5-.8 2.5-2.5 3",
  exit: "M10 5H6a1.5 1.5 0 0 0-1.5 1.5v11A1.5 1.5 0 0 0 6 19h4M15 8l4 4-4 4M19 12H9.5",
} as const;

const FILLED = new Set<string>(["play", "pause", "next", "previous"]);

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill={FILLED.has(name) ? "currentColor" : "none"}
      stroke="currentColor"
      stroke-width={name === "map" ? 3 : 1.75}
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
