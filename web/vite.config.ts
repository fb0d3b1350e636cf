import { defineConfig } from "vitest/config";

// The service that `npm run dev` asks; start it beside with `clap-musicgen serve`.
const SERVICE = "http://127.0.0.1:8321";

export default defineConfig({
  base: "./", // so that the page also works below a path of a reverse proxy
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  html: { cspNonce: "__CSP_NONCE__" }, // the service puts a fresh one in its place with every answer
  build: {
    outDir: "../src/clap_musicgen/service/page",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "licenses.txt" }, // the bundle holds others' work
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ["index.html", "map.html"] },
  },
  server: { proxy: { "/api": { target: SERVICE, changeOrigin: false } } },
  test: { include: ["tests/**/*.test.ts"] },
});
