// What the colours of the map mean, and the choice of what they shall mean.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { asked } from "../question";
import { dark } from "../theme";
import { Button } from "../ui";
import { type Group, groupColours, ramp } from "./groups";
import * as map from "./state";

const CHOICES: readonly { by: map.ColourBy; name: string }[] = [
  { by: "genre", name: "Genre" },
  { by: "mood", name: "Mood" },
  { by: "score", name: "Search" },
];

export function Colours() {
  return (
    <section class="map-colours" aria-label="Colours">
      <div class="segments" role="group" aria-label="Colour by">
        {CHOICES.map(({ by, name }) => (
          <button
            key={by}
            type="button"
            class="segment"
            aria-pressed={map.colourBy.value === by}
            data-testid={`colour-${by}`}
            onClick={() => map.colour(by)}
          >
            {name}
          </button>
        ))}
      </div>
      {map.colourBy.value === "score" ? <Scores /> : <Legend />}
    </section>
  );
}

function Legend() {
  const all = map.groups.value?.groups ?? [];
  const colours = groupColours(all, dark.value);
  if (all.length === 1 && all[0]?.label === "Unknown") {
    return (
      <p class="soft small">
        {map.colourBy.value === "genre"
          ? "The files of this library name no genre: colour them by mood, or by a search."
          : "The moods of this library are not known yet."}
      </p>
    );
  }
  return (
    <ul class="map-legend" data-testid="legend">
      {all.map((group, place) => (
        <li key={group.label}>
          <LegendItem group={group} place={place} colour={colours[place] ?? ""} />
        </li>
      ))}
    </ul>
  );
}

function LegendItem({ group, place, colour }: { group: Group; place: number; colour: string }) {
  const on = map.alone.value === place;
  return (
    <button
      type="button"
      class="map-legend-item"
      aria-pressed={on}
      title={on ? "Show all again" : `Show only ${group.label}`}
      onClick={() => {
        map.alone.value = on ? null : place;
      }}
    >
      <i class="map-swatch" style={{ background: colour }} />
      <span class="one-line">{group.label}</span>
      <span class="soft small numbers">{group.count.toLocaleString("en")}</span>
    </button>
  );
}

function Scores() {
  const words = useSignal(map.scored.value?.words ?? asked.value.words);
  const given = map.scored.value?.words;
  useEffect(() => {
    if (given) words.value = given;
  }, [given]);
  const gradient = `linear-gradient(to right, ${ramp(dark.value).join(",")})`;
  return (
    <form
      class="map-scores"
      onSubmit={(event) => {
        event.preventDefault();
        if (words.value.trim()) void map.score(words.value);
      }}
    >
      <label class="field">
        Colour by how well this fits
        <input
          class="input"
          type="search"
          placeholder="slow piano, dark metal …"
          maxLength={2000}
          value={words.value}
          data-testid="score-words"
          onInput={(event) => {
            words.value = event.currentTarget.value;
          }}
        />
      </label>
      <Button type="submit" kind="primary" disabled={map.scoring.value || !words.value.trim()}>
        {map.scoring.value ? "Asking …" : "Colour"}
      </Button>
      {given && (
        <div class="map-ramp" data-testid="legend">
          <div
            style={{ background: gradient }}
            role="img"
            aria-label="From fits less to fits best"
          />
          <span class="soft small">fits less</span>
          <span class="soft small">fits best</span>
        </div>
      )}
    </form>
  );
}
