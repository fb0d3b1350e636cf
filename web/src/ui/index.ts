// The parts that views are made of.

export { Button, IconButton } from "./button";
export { Cover } from "./cover";
export { Dialog } from "./dialog";
export { Icon, type IconName } from "./icon";
export { Empty, Failure, Loading } from "./states";
export { PlayCover, TrackRow, TrackText } from "./track-row";
export { Wave } from "./wave";
