// Where the page begins.

import { render } from "preact";
import { App } from "./app";
import { startKeys } from "./keyboard";
import { startLibrary } from "./library-state";
import { startMediaKeys } from "./player/keys";
import { followAddress } from "./question";
import { startTheme } from "./theme";

startTheme();
startKeys();
startMediaKeys();
const place = document.getElementById("page");
if (place) {
  place.replaceChildren();
  render(<App />, place);
}
void startLibrary().then(followAddress);
