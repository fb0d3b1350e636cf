// The library: what it holds, adding to it, and all its tracks.

import { useEffect } from "preact/hooks";
import { startLibrary, info, unreachable } from "../library-state";
import type { Info } from "../types";
import { Failure, Loading } from "../ui";
import { Add } from "./add";
import { Browse } from "./browse";
import { Contents } from "./contents";
import "./library.css";

export default function LibraryView() {
  useEffect(() => {
    if (!info.value) void startLibrary();
  }, []);
  if (!info.value && unreachable.value) {
    return <Failure error={unreachable.value} retry={() => void startLibrary()} />;
  }
  if (!info.value) return <Loading />;
  return (
    <div class="library">
      <header class="view-head">
        <h1>Library</h1>
      </header>
      <Facts info={info.value} />
      <Add info={info.value} />
      {info.value.tracks > 0 && <Contents />}
      {info.value.tracks > 0 && <Browse key={info.value.tracks} />}
    </div>
  );
}

function Facts({ info }: { info: Info }) {
  const hours =
    info.hours < 10 ? info.hours.toFixed(1) : Math.round(info.hours).toLocaleString("en");
  const model = info.model.replace(/^--model\s+/, "") || "unknown";
  const facts: [string, string][] = [
    [info.tracks.toLocaleString("en"), info.tracks === 1 ? "track" : "tracks"],
    [hours, "hours of music"],
    [info.clips.toLocaleString("en"), "excerpts to search in"],
    [model, `model, ${info.dim} dimensions`],
  ];
  return (
    <section aria-label="Facts">
      <dl class="library-facts" data-testid="library-facts">
        {facts.map(([value, name]) => (
          <div key={name} class="card">
            <dd class="numbers one-line">{value}</dd>
            <dt class="soft small">{name}</dt>
          </div>
        ))}
      </dl>
      <p class="soft small library-path">
        In <code>{info.library}</code>, served by clap-musicgen {info.version}
      </p>
    </section>
  );
}
