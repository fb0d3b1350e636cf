// What one sees before the first question: examples, and what the library holds.

import { count } from "../format";
import { facets, info, startLibrary, unreachable } from "../library-state";
import { ask } from "../question";
import { Empty, Failure } from "../ui";

const EXAMPLES = [
  "slow jazz with piano",
  "dark metal without vocals",
  "cheerful folk dance",
  "solemn church organ",
];

/** How many labels of a facet are offered. */
const OFFERED = 12;

export function Home() {
  if (unreachable.value) {
    return <Failure error={unreachable.value} retry={() => void startLibrary()} />;
  }
  if (info.value?.tracks === 0) {
    return (
      <Empty icon="library" title="No music yet">
        <p>
          Add some on the <a href="#/library">library</a> page, or in the shell:
        </p>
        <code>clap-musicgen index ~/Music</code>
      </Empty>
    );
  }
  return (
    <div class="home">
      <ul class="chips home-examples" aria-label="Examples">
        {EXAMPLES.map((words) => (
          <li key={words}>
            <button type="button" class="chip" data-testid="example" onClick={() => ask({ words })}>
              {words}
            </button>
          </li>
        ))}
      </ul>
      <Holds />
    </div>
  );
}

function Holds() {
  const known = info.value;
  if (!known) return null;
  const shown = Object.entries(facets.value ?? {}).filter(([, labels]) => labels.length > 0);
  return (
    <section class="holds" aria-label="What the library holds">
      <p class="soft small numbers" data-testid="library-size">
        In this library: {count(known.tracks, "track")}, {hoursText(known.hours)}
      </p>
      {shown.map(([facet, labels]) => (
        <div key={facet} class="facet">
          <h2>{facet}</h2>
          <ul class="chips">
            {labels
              .filter((one) => one.tracks > 0)
              .slice(0, OFFERED)
              .map(({ label, tracks }) => (
                <li key={label}>
                  <button
                    type="button"
                    class="chip"
                    data-testid="facet"
                    onClick={() => ask({ words: label })}
                  >
                    {label} <span class="chip-count">{tracks}</span>
                  </button>
                </li>
              ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

function hoursText(hours: number): string {
  return hours < 1 ? count(Math.round(60 * hours), "minute") : count(Math.round(hours), "hour");
}
