// The frame: head, the view that the address names, player, messages.

import { closeSession, sessionOpen } from "./api";
import { writeParameters } from "./asked";
import { KEYS, keysShown } from "./keyboard";
import { lazy } from "./lazy";
import { info, locked } from "./library-state";
import { closePlayer, hasPlayer } from "./player";
import { Dock } from "./player/dock";
import { QueuePanel, queueOpen } from "./player/queue";
import { SaveDialog } from "./player/save";
import { asked } from "./question";
import { route, type View, writeHash } from "./router";
import { DropTarget } from "./search/drop";
import { SearchView } from "./search/view";
import { Login } from "./session/login";
import { nextTheme, theme } from "./theme";
import { dismiss, toastError, toasts } from "./toasts";
import { Dialog, Icon, IconButton, type IconName } from "./ui";

const MapView = lazy(() => import("./map/view"));
const PlaylistsView = lazy(() => import("./playlists/view"));
const LibraryView = lazy(() => import("./library/view"));
const RunsView = lazy(() => import("./runs/view"));

const TABS: readonly { view: View; name: string; icon: IconName }[] = [
  { view: "search", name: "Search", icon: "search" },
  { view: "map", name: "Map", icon: "map" },
  { view: "playlists", name: "Playlists", icon: "playlists" },
  { view: "library", name: "Library", icon: "library" },
  { view: "runs", name: "Training", icon: "runs" },
];

export function App() {
  if (!sessionOpen.value) return <Login />;
  return (
    <div class={hasPlayer.value ? "has-player" : ""}>
      <a
        class="skip"
        href="#view"
        onClick={(event) => {
          event.preventDefault(); // the address names the view, not a place in it
          document.getElementById("view")?.focus();
        }}
      >
        Skip to content
      </a>
      <Head />
      <main class="view" id="view" tabIndex={-1} key={route.value.view}>
        <CurrentView />
      </main>
      {queueOpen.value && <QueuePanel />}
      {hasPlayer.value && <Dock />}
      <nav class="bottom-tabs" aria-label="Views">
        <Tabs />
      </nav>
      <Toasts />
      <DropTarget />
      <SaveDialog />
      {keysShown.value && <Keys />}
    </div>
  );
}

function CurrentView() {
  switch (route.value.view) {
    case "search":
      return <SearchView />;
    case "map":
      return <MapView />;
    case "playlists":
      return <PlaylistsView />;
    case "library":
      return <LibraryView />;
    case "runs":
      return <RunsView />;
  }
}

const THEMES = { system: "as the system", light: "light", dark: "dark" } as const;
const THEME_ICONS = { system: "system", light: "sun", dark: "moon" } as const;

function Head() {
  return (
    <header class="head">
      <div class="head-inside">
        <a class="brand" href="#/" aria-label="clap-musicgen, to the search">
          <Icon name="sound" size={28} />
          clap-musicgen
        </a>
        <nav class="tabs" aria-label="Views">
          <Tabs />
        </nav>
        <div class="head-end">
          <span class="keys-button">
            <IconButton
              label="Keys"
              icon="keyboard"
              onClick={() => {
                keysShown.value = true;
              }}
            />
          </span>
          <IconButton
            label={`Colours: ${THEMES[theme.value]}`}
            icon={THEME_ICONS[theme.value]}
            data-testid="theme"
            onClick={nextTheme}
          />
          {locked.value && (
            <IconButton
              label="Lock the page again"
              icon="exit"
              data-testid="logout"
              onClick={leave}
            />
          )}
        </div>
      </div>
    </header>
  );
}

function leave(): void {
  closePlayer();
  closeSession().catch(toastError);
}

function Tabs() {
  const now = route.value.view;
  const shown = TABS.filter(
    ({ view }) => view !== "runs" || now === "runs" || info.value?.has_runs,
  );
  return (
    <>
      {shown.map(({ view, name, icon }) => (
        <a
          key={view}
          class="tab"
          href={writeHash(view, view === "search" ? writeParameters(asked.value) : undefined)}
          aria-current={view === now ? "page" : undefined}
          data-testid={`tab-${view}`}
        >
          <Icon name={icon} size={22} />
          {name}
        </a>
      ))}
    </>
  );
}

function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((one) => (
        <div key={one.id} class={one.bad ? "toast toast-bad" : "toast"} data-testid="toast">
          <span>{one.text}</span>
          {one.action && (
            <button
              type="button"
              class="toast-action"
              onClick={() => {
                one.action?.run();
                dismiss(one.id);
              }}
            >
              {one.action.label}
            </button>
          )}
          <IconButton label="Dismiss" icon="close" size={16} onClick={() => dismiss(one.id)} />
        </div>
      ))}
    </div>
  );
}

function Keys() {
  return (
    <Dialog
      title="Keys"
      onClose={() => {
        keysShown.value = false;
      }}
    >
      <dl class="keys">
        {KEYS.map(([keys, does]) => (
          <>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  );
}
