import { expect, test } from "vitest";
import { readHash, VIEWS, writeHash } from "../src/address";

test("an address is read as it was written", () => {
  for (const view of VIEWS) {
    const written = writeHash(view, new URLSearchParams({ q: "a & b?" }), "50 % / more");
    const read = readHash(written);
    expect([read.view, read.rest, read.parameters.get("q")]).toEqual(
      view === "search" ? ["search", "", "a & b?"] : [view, "50 % / more", "a & b?"],
    );
  }
});

test.each([
  ["", "search"],
  ["#", "search"],
  ["#/nowhere", "search"],
  ["#/map", "map"],
])("%j leads to %s", (hash, view) => {
  expect(readHash(hash).view).toBe(view);
});

test("a stray percent sign is no error", () => {
  expect(readHash("#/playlists/100%").rest).toBe("100%");
});
