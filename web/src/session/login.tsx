// The way in, where the service asks for a token.

import { signal } from "@preact/signals";
import { openSession, Problem } from "../api";
import { startLibrary } from "../library-state";
import { askAgain } from "../question";
import { Button, Icon } from "../ui";

const busy = signal(false);
const wrong = signal("");

async function enter(event: SubmitEvent): Promise<void> {
  event.preventDefault();
  const token = new FormData(event.currentTarget as HTMLFormElement).get("token");
  busy.value = true;
  try {
    await openSession(String(token ?? "").trim());
    wrong.value = "";
    await startLibrary();
    void askAgain();
  } catch (error) {
    const refused = error instanceof Problem && error.status === 401;
    wrong.value = refused
      ? "That is not the token this service was started with."
      : error instanceof Error
        ? error.message
        : String(error);
  } finally {
    busy.value = false;
  }
}

export function Login() {
  return (
    <main class="login">
      <span class="brand">
        <Icon name="sound" size={32} />
        clap-musicgen
      </span>
      <form class="card" onSubmit={(event) => void enter(event)}>
        <h1>Who is there?</h1>
        <p class="soft small" id="login-why">
          This library is open to those who know its token: the one that the service was started
          with.
        </p>
        <label class="field">
          Token
          <input
            class="input"
            name="token"
            type="password"
            autocomplete="current-password"
            required
            autoFocus
            aria-describedby={wrong.value ? "login-wrong" : "login-why"}
            aria-invalid={wrong.value !== ""}
            data-testid="token"
          />
        </label>
        {wrong.value && (
          <p class="login-bad" id="login-wrong" role="alert">
            {wrong.value}
          </p>
        )}
        <Button kind="primary" type="submit" disabled={busy.value} data-testid="login">
          Open
        </Button>
      </form>
    </main>
  );
}
