// The box for words, with the way to give a sound instead.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, asked, askWithSound, asking } from "../question";
import { Icon, IconButton } from "../ui";
import { isFinished } from "./typing";

/** Milliseconds of rest after which what was typed so far is asked. */
const REST = 450;

const typed = signal("");

export function SearchBox() {
  const input = useRef<HTMLInputElement>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const words = asked.value.words;

  useEffect(() => {
    typed.value = words; // asked from elsewhere: a chip, the address
  }, [words]);
  useEffect(() => {
    // A phone would cover the page with its keyboard.
    if (matchMedia("(hover: hover)").matches && !words)
      input.current?.focus({ preventScroll: true });
    return () => clearTimeout(timer.current);
  }, []);

  const submit = (replace: boolean): void => {
    clearTimeout(timer.current);
    if (typed.value.trim() !== asked.value.words || asking.value === "failed") {
      ask({ words: typed.value.trim() }, { replace });
    }
  };
  return (
    <form
      class="search-box"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        submit(false);
        if (!matchMedia("(hover: hover)").matches) input.current?.blur();
      }}
    >
      <Icon name="search" size={22} />
      <label class="unseen" for="search-words">
        Describe the music
      </label>
      <input
        ref={input}
        id="search-words"
        data-testid="search-input"
        type="text"
        inputMode="search"
        enterkeyhint="search"
        autocomplete="off"
        spellcheck={false}
        maxLength={1000}
        placeholder="slow jazz with piano"
        value={typed.value}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
          clearTimeout(timer.current);
          // An open quote or a minus without a word is not finished.
          if (isFinished(typed.value)) timer.current = setTimeout(() => submit(true), REST);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") input.current?.blur();
        }}
      />
      {typed.value && (
        <IconButton
          label="Clear the words"
          icon="close"
          size={18}
          onClick={() => {
            typed.value = "";
            submit(false);
            input.current?.focus();
          }}
        />
      )}
      <SoundButton />
    </form>
  );
}

function SoundButton() {
  return (
    <label class="sound-button" title="Search with a sound: choose a file, or drop it anywhere">
      <Icon name="upload" size={20} />
      <span>
        Sound<span class="unseen"> file to search with</span>
      </span>
      <input
        class="unseen"
        type="file"
        accept="audio/*,.flac,.opus,.m4a,.wma,.aiff,.ogg"
        data-testid="sound-input"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = ""; // so that the same file can be chosen again
          if (file) void askWithSound(file);
        }}
      />
    </label>
  );
}
