// The page's state in one place: everything that views share.

export { sessionOpen } from "./api";
export type { Asked, Example, Filters } from "./asked";
export type { Entry } from "./player";
export {
  clearQueue,
  current,
  duration,
  enqueue,
  hears,
  pause,
  play,
  playAll,
  playing,
  position,
  preview,
  previewing,
  queue,
  seek,
  stopPreview,
  time,
  toggle,
  togglePlaying,
} from "./player";
export { ask, asked, asking, failure, likeLess, likeMore, matches, similarTo } from "./question";
export { saveAsPlaylist } from "./player/save";
export { navigate, route } from "./router";
export { dark, theme, token } from "./theme";
export { toast, toastError } from "./toasts";
export { facets, info, refreshLibrary } from "./library-state";
