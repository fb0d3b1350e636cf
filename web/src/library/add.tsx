// Adding music, with progress while it goes and what it did when it is over.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { clock, count, percent } from "../format";
import type { AddProgress, AddReport, Info } from "../types";
import { Button, Icon } from "../ui";
import * as adding from "./adding";

export function Add({ info }: { info: Info }) {
  useEffect(() => void adding.look(), []);
  return (
    <section class="card add" aria-label="Add music">
      <h2>Add music</h2>
      {info.can_add ? adding.running.value ? <Going /> : <Start info={info} /> : <How />}
      {adding.wrong.value && (
        <p class="add-wrong" role="alert">
          <Icon name="alert" size={18} />
          {adding.wrong.value}
        </p>
      )}
      {adding.report.value && !adding.running.value && <Done report={adding.report.value} />}
    </section>
  );
}

function How() {
  return (
    <p class="soft">
      This service was started without a folder to add from. Start it with{" "}
      <code>clap-musicgen serve --music ~/Music</code>, or add in the shell with{" "}
      <code>clap-musicgen index ~/Music</code>.
    </p>
  );
}

function Start({ info }: { info: Info }) {
  const prune = useSignal(false);
  const some = useSignal("");
  return (
    <form
      class="add-form"
      onSubmit={(event) => {
        event.preventDefault();
        const path = some.value.trim();
        void adding.start(path ? [path] : null, prune.value);
      }}
    >
      <p class="soft">
        Looks through the folders of the service for what is new or has changed; what is known costs
        nothing. Reads {named(info.formats)}.
      </p>
      <details class="add-more">
        <summary class="small">Only one folder, or tidy up</summary>
        <label class="field">
          Folder or file within the folders of the service
          <input
            class="input"
            placeholder="/home/me/Music/New"
            value={some.value}
            onInput={(event) => {
              some.value = event.currentTarget.value;
            }}
          />
        </label>
        <label class="add-check">
          <input
            type="checkbox"
            checked={prune.value}
            onChange={(event) => {
              prune.value = event.currentTarget.checked;
            }}
          />
          Take out tracks whose files are gone
        </label>
      </details>
      <Button type="submit" kind="primary" icon="folder" data-testid="add">
        Look for music
      </Button>
    </form>
  );
}

const COMMON = ["mp3", "flac", "ogg", "opus", "m4a", "wav", "aiff"];

/** The formats that people have, then how many more there are. */
function named(formats: string[]): string {
  const common = COMMON.filter((format) => formats.includes(format));
  const rest = formats.length - common.length;
  return rest > 0 ? `${common.join(", ")} and ${rest} more formats` : common.join(", ");
}

function Going() {
  const now = adding.progress.value;
  const share = adding.share(now);
  return (
    <div class="add-going" data-testid="add-progress">
      <div class="add-line">
        <strong class="numbers" role="status">
          {now
            ? `${now.done.toLocaleString("en")} of ${count(now.total, "file")}`
            : "Looking for files …"}
        </strong>
        <span class="soft small numbers">{share !== null && percent(share)}</span>
      </div>
      <div
        class={share === null ? "add-bar add-bar-waiting" : "add-bar"}
        role="progressbar"
        aria-label="Adding music"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share === null ? undefined : Math.round(100 * share)}
      >
        <i style={{ width: `${100 * (share ?? 0.3)}%` }} />
      </div>
      {now && <Now now={now} />}
      <Button
        disabled={adding.stopping.value}
        data-testid="add-stop"
        onClick={() => void adding.stop()}
      >
        {adding.stopping.value ? "Stopping …" : "Stop"}
      </Button>
    </div>
  );
}

function Now({ now }: { now: AddProgress }) {
  return (
    <p class="soft small add-now">
      <span class="one-line">{now.path}</span>
      <span class="numbers">
        {clock(now.seconds)} of sound
        {now.failed > 0 && ` · ${now.failed.toLocaleString("en")} failed`}
      </span>
    </p>
  );
}

function Done({ report }: { report: AddReport }) {
  const parts: [number, string][] = [
    [report.added.length, "added"],
    [report.updated.length, "updated"],
    [report.unchanged.length, "unchanged"],
    [report.removed.length, "taken out"],
    [report.failed.length, "failed"],
  ];
  return (
    <div class="add-done" data-testid="add-report">
      <p role="status">
        {parts
          .filter(([number, name]) => number > 0 || name === "added")
          .map(([number, name]) => `${number.toLocaleString("en")} ${name}`)
          .join(" · ")}
      </p>
      <Troubles
        title={`${count(report.failed.length, "file")} could not be used`}
        troubles={report.failed.map(({ path, reason }) => [path, reason])}
        open
      />
      <Troubles
        title={`${count(report.problems.length, "track")} with something wrong`}
        troubles={report.problems.map(({ path, problem }) => [path, problem])}
      />
    </div>
  );
}

const LISTED = 200;

function Troubles(props: { title: string; troubles: [string, string][]; open?: boolean }) {
  const { title, troubles, open = false } = props;
  if (!troubles.length) return null;
  return (
    <details class="troubles" open={open && troubles.length <= 20} data-testid="troubles">
      <summary>{title}</summary>
      <ul class="small">
        {troubles.slice(0, LISTED).map(([path, why]) => (
          <li key={path}>
            <span>{path}</span>
            <span class="soft">{why}</span>
          </li>
        ))}
      </ul>
      {troubles.length > LISTED && (
        <p class="soft small">and {count(troubles.length - LISTED, "more file")}</p>
      )}
    </details>
  );
}
