// Which tracks may answer: artist, genre, years, lengths.

import type { ComponentChildren } from "preact";
import { type Filters as Chosen, filterCount, NO_FILTERS } from "../asked";
import { asked, setFilters } from "../question";
import { Button } from "../ui";

type Numbers = "yearFrom" | "yearTo" | "longerThan" | "shorterThan";

export function Filters() {
  const filters = asked.value.filters;
  const text = (name: "artist" | "album", label: string) => (
    <label class="field">
      {label}
      <input
        class="input"
        value={filters[name]}
        placeholder="any; * stands for anything"
        maxLength={300}
        data-testid={`filter-${name}`}
        onChange={(event) => setFilters({ [name]: event.currentTarget.value.trim() })}
      />
    </label>
  );
  return (
    <section class="filters" id="filters" aria-label="Filters">
      {text("artist", "Artist")}
      {text("album", "Album")}
      <label class="field">
        Genre
        <input
          class="input"
          value={filters.genre.join(", ")}
          placeholder="any; several with commas"
          maxLength={300}
          data-testid="filter-genre"
          onChange={(event) => setFilters({ genre: listed(event.currentTarget.value) })}
        />
      </label>
      <Pair legend="Year">
        <NumberBox name="yearFrom" label="from" value={filters.yearFrom} step={1} />
        <NumberBox name="yearTo" label="to" value={filters.yearTo} step={1} />
      </Pair>
      <Pair legend="Minutes">
        <NumberBox name="longerThan" label="at least" value={filters.longerThan} step="any" />
        <NumberBox name="shorterThan" label="at most" value={filters.shorterThan} step="any" />
      </Pair>
      <label class="field">
        Added
        <select
          class="input"
          value={filters.addedSince}
          data-testid="filter-added"
          onChange={(event) => setFilters({ addedSince: event.currentTarget.value })}
        >
          <option value="">any time</option>
          <option value="1d">in the last day</option>
          <option value="7d">in the last week</option>
          <option value="30d">in the last month</option>
        </select>
      </label>
      <label class="field">
        Variety
        <select
          class="input"
          value={filters.per ?? ""}
          data-testid="filter-per"
          onChange={(event) =>
            setFilters({ per: (event.currentTarget.value || null) as Chosen["per"] })
          }
        >
          <option value="">all that fits</option>
          <option value="artist">one of each artist</option>
          <option value="album">one of each album</option>
        </select>
      </label>
      <div class="filters-end">
        <label class="check">
          <input
            type="checkbox"
            checked={filters.fold}
            data-testid="filter-fold"
            onChange={(event) => setFilters({ fold: event.currentTarget.checked })}
          />
          Copies of a track count as one
        </label>
        {filterCount(filters) > 0 && (
          <Button kind="quiet" onClick={() => setFilters(NO_FILTERS)}>
            No filters
          </Button>
        )}
      </div>
    </section>
  );
}

const listed = (text: string): string[] =>
  text
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);

function Pair({ legend, children }: { legend: string; children: ComponentChildren }) {
  return (
    <fieldset class="pair">
      <legend class="field">{legend}</legend>
      {children}
    </fieldset>
  );
}

function NumberBox({
  name,
  label,
  value,
  step,
}: {
  name: Numbers;
  label: string;
  value: number | null;
  step: number | "any";
}) {
  return (
    <label>
      <span class="unseen">{label}</span>
      <input
        class="input"
        type="number"
        min={0}
        max={9999}
        step={step}
        placeholder={label}
        value={value ?? ""}
        data-testid={`filter-${name}`}
        onChange={(event) => {
          const number = event.currentTarget.valueAsNumber;
          setFilters({ [name]: Number.isFinite(number) ? number : null });
        }}
      />
    </label>
  );
}
