// What is asked beside the words, as chips that can be taken away: examples, "without", filters.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { type Example, filterCount } from "../asked";
import { isSound } from "../names";
import { addWithout, asked, dropWithout, forgetExample } from "../question";
import { Icon, type IconName } from "../ui";
import { Filters } from "./filters";

const filtersOpen = signal(false);

export function AskedChips() {
  const { like, unlike, without, filters } = asked.value;
  const count = filterCount(filters);
  return (
    <>
      <div class="chips asked-chips">
        {like.map((one) => (
          <ExampleChip key={one.id} example={one} sign="plus" says="More like" />
        ))}
        {unlike.map((one) => (
          <ExampleChip key={one.id} example={one} sign="minus" says="Less like" />
        ))}
        {without.map((words) => (
          <Chip
            key={words}
            icon="minus"
            testId="without-chip"
            remove={`Allow ${words} again`}
            onRemove={() => dropWithout(words)}
          >
            <span class="soft">without</span> {words}
          </Chip>
        ))}
        <WithoutBox />
        <button
          type="button"
          class={count ? "chip chip-on" : "chip"}
          aria-expanded={filtersOpen.value}
          aria-controls="filters"
          data-testid="filters-button"
          onClick={() => {
            filtersOpen.value = !filtersOpen.value;
          }}
        >
          <Icon name="filters" size={16} />
          Filters{count > 0 && ` (${count})`}
        </button>
      </div>
      {filtersOpen.value && <Filters />}
    </>
  );
}

function ExampleChip({ example, sign, says }: { example: Example; sign: IconName; says: string }) {
  return (
    <Chip
      icon={isSound(example.id) ? "sound" : sign}
      on
      testId={sign === "plus" ? "like-chip" : "unlike-chip"}
      remove={`Take ${example.title} out of the question`}
      onRemove={() => forgetExample(example.id)}
    >
      <span class="soft">{isSound(example.id) ? "like" : says.toLowerCase()}</span> {example.title}
    </Chip>
  );
}

function Chip({
  icon,
  on = false,
  testId,
  remove,
  onRemove,
  children,
}: {
  icon: IconName;
  on?: boolean;
  testId: string;
  remove: string;
  onRemove: () => void;
  children: ComponentChildren;
}) {
  return (
    <span class={on ? "chip chip-on" : "chip"} data-testid={testId}>
      <span class="chip-sign">
        <Icon name={icon} size={16} />
      </span>
      <span class="one-line chip-text">{children}</span>
      <button
        type="button"
        class="chip-close"
        aria-label={remove}
        title={remove}
        onClick={onRemove}
      >
        <Icon name="close" size={14} />
      </button>
    </span>
  );
}

function WithoutBox() {
  return (
    <form
      class="without-box"
      onSubmit={(event) => {
        event.preventDefault();
        const box = event.currentTarget.elements.namedItem("without") as HTMLInputElement;
        addWithout(box.value);
        box.value = "";
      }}
    >
      <Icon name="minus" size={16} />
      <input
        name="without"
        aria-label="Without: what should not be heard"
        placeholder="without …"
        autocomplete="off"
        maxLength={200}
        data-testid="without-input"
        onKeyDown={(event) => {
          if (event.key === "Escape") event.currentTarget.blur();
        }}
        onBlur={(event) => event.currentTarget.form?.requestSubmit()}
      />
    </form>
  );
}
