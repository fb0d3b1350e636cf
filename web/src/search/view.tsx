// The search: the box, what is asked, and the answers.

import { asksSomething } from "../asked";
import { startLibrary, unreachable, info } from "../library-state";
import { asked, askAgain, asking, failure, matches, sending } from "../question";
import { percent } from "../format";
import { Empty, Failure, Loading } from "../ui";
import { SearchBox } from "./box";
import { AskedChips } from "./chips";
import { Home } from "./home";
import { Results } from "./results";

/** Nothing can be dropped with a finger. */
const TOUCH = matchMedia("(hover: none)").matches;

export function SearchView() {
  const question = asked.value;
  const home = !asksSomething(question) && asking.value === "idle" && !sending.value;
  return (
    <div class={home ? "search search-home" : "search"}>
      {home ? (
        <div class="hero">
          <h1>What should it sound like?</h1>
          <p class="soft">
            {TOUCH
              ? "Say it in words, or start from a piece of music."
              : "Say it in words, or drop a piece of music anywhere on the page."}
          </p>
        </div>
      ) : (
        <h1 class="unseen">Search</h1>
      )}
      <div class="search-asked">
        <SearchBox />
        {!home && <AskedChips />}
      </div>
      {home ? <Home /> : <Answers />}
    </div>
  );
}

function Answers() {
  if (sending.value) {
    const { title, share } = sending.value;
    return (
      <Loading>
        {share < 1 ? `Sending ${title}: ${percent(share)}` : `Listening to ${title} …`}
      </Loading>
    );
  }
  if (unreachable.value) {
    return <Failure error={unreachable.value} retry={() => void startLibrary().then(askAgain)} />;
  }
  if (asking.value === "failed") {
    return <Failure error={failure.value} retry={() => void askAgain()} />;
  }
  if (asking.value === "idle") {
    return (
      <Empty icon="search" title="Say what you want">
        What is not wanted alone is no direction: add words, or a sound that comes close.
      </Empty>
    );
  }
  if (asking.value === "asking" && !matches.value.length) return <Loading>Searching …</Loading>;
  if (!matches.value.length) return <NothingFound />;
  return <Results />;
}

function NothingFound() {
  if (info.value?.tracks === 0) {
    return (
      <Empty icon="library" title="This library is empty">
        Add music on the <a href="#/library">library</a> page, or with{" "}
        <code>clap-musicgen index FOLDER</code>.
      </Empty>
    );
  }
  return (
    <Empty icon="search" title="Nothing fits">
      No track passes the filters. Take one away, or widen the years or the lengths.
    </Empty>
  );
}
