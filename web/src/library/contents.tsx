// What the library sounds like: its most common tags, each a way into a search.

import { NOTHING } from "../asked";
import { facets } from "../library-state";
import { ask } from "../question";

const SHOWN = 8;

export function Contents() {
  const all = Object.entries(facets.value ?? {}).filter(([, labels]) => labels.length > 0);
  if (!all.length) return null;
  return (
    <section aria-label="What is in it" class="contents" data-testid="contents">
      <h2>What is in it</h2>
      <div class="contents-facets">
        {all.map(([facet, labels]) => (
          <Facet key={facet} facet={facet} labels={labels.slice(0, SHOWN)} />
        ))}
      </div>
    </section>
  );
}

function Facet({ facet, labels }: { facet: string; labels: { label: string; tracks: number }[] }) {
  const most = Math.max(...labels.map((one) => one.tracks), 1);
  return (
    <div class="card tag-card">
      <h3>{facet.charAt(0).toUpperCase() + facet.slice(1)}</h3>
      <ul>
        {labels.map(({ label, tracks }) => (
          <li key={label}>
            <button
              type="button"
              class="tag-row"
              title={`Search for ${label}`}
              onClick={() => ask({ ...NOTHING, words: label })}
            >
              <span class="one-line">{label}</span>
              <span class="tag-bar" aria-hidden="true">
                <i style={{ width: `${(100 * tracks) / most}%` }} />
              </span>
              <span class="soft small numbers">{tracks.toLocaleString("en")}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
