import { cp } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, defineConfig, type Plugin } from "vite";
import { VitePWA } from "vite-plugin-pwa";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const outDir = path("../dist");

/** Copies the default model into the build before the service worker lists the shell's files. */
function defaultModel(name: string): Plugin {
  return {
    name: "fraise-default-model",
    apply: "build",
    writeBundle: () => cp(path(`../models/${name}`), `${outDir}/models/${name}`, { recursive: true }),
  };
}

/** The script around the isolated painter, in one file that can be copied anywhere. */
function parentScript(): Plugin {
  const lib = { entry: path("src/embed/parent.ts"), formats: ["es" as const], fileName: "frame" };
  return {
    name: "fraise-parent-script",
    apply: "build",
    closeBundle: async () => {
      await build({ configFile: false, logLevel: "warn", publicDir: false, build: { outDir, emptyOutDir: false, target: "es2022", lib } });
    },
  };
}

export default defineConfig({
  base: "./", // any sub-path of any static host
  build: {
    outDir,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: scripts, and small files cost nothing here
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1024,
    rolldownOptions: {
      input: { index: path("index.html"), embed: path("embed.html"), fraise: path("src/index.ts"), painter: path("src/define.ts") },
      preserveEntrySignatures: "strict",
      // Site owners link to these two by name; everything else carries its hash.
      output: {
        entryFileNames: ({ name }) => (name === "index" || name === "embed" ? "assets/[name]-[hash].js" : "[name].js"),
      },
    },
  },
  worker: { format: "es" },
  plugins: [
    defaultModel("fraise-1"),
    parentScript(),
    VitePWA({
      registerType: "prompt",
      injectRegister: false, // src/app/update.ts registers it, on the studio page alone
      manifest: false, // public/manifest.webmanifest is the app's own
      strategies: "injectManifest",
      srcDir: "src/service-worker",
      filename: "sw.ts",
      injectManifest: {
        // The shell as one versioned set. Model pieces live in IndexedDB; only what the page shows of a model is listed here.
        globPatterns: ["**/*.{html,js,css,wasm,svg,png,webmanifest}", "manners/*.webp", "models/*/{manifest,words}.json"],
        globIgnores: ["fraise.js", "painter.js", "frame.js", "embed.html", "assets/embed-*"], // for pages of other people, which are left alone
        maximumFileSizeToCacheInBytes: 64 * 1024 * 1024,
      },
    }),
  ],
});
