/**
 * The studio's service worker: keeps the page's shell as one versioned set, isolates the page across origins, and takes
 * pictures that are shared with the installed app. Models are none of its business; they live in IndexedDB.
 *
 * Every file of a version is fetched when it is installed and served from then on without the network. A newer version
 * waits beside it until the visitor asks for it (`SKIP_WAITING`).
 */
import { clientsClaim } from "workbox-core";
import { addPlugins, cleanupOutdatedCaches, precacheAndRoute, type PrecacheEntry } from "workbox-precaching";
import { registerRoute } from "workbox-routing";
import { CacheFirst } from "workbox-strategies";
import { hasRelaxedSimd } from "../engine/simd";
import { isolation } from "./isolation";
import { keepShared, SHARE_PATH } from "./shared";

declare const self: ServiceWorkerGlobalScope & { readonly __WB_MANIFEST: PrecacheEntry[] };

const scope = new URL(self.registration.scope);
/** Of the engine's two WebAssembly files, the one that this browser never asks for. */
const UNUSED = hasRelaxedSimd() ? /\/fraise_web_bg-[^/]*\.wasm$/ : /\/fraise_web_relaxed_bg-[^/]*\.wasm$/;

self.addEventListener("message", ({ data }) => {
  if ((data as { type?: unknown } | null)?.type === "SKIP_WAITING") void self.skipWaiting();
});
clientsClaim();
cleanupOutdatedCaches();
const shell = self.__WB_MANIFEST.filter((file) => !UNUSED.test(typeof file === "string" ? file : file.url));
addPlugins([isolation]);
precacheAndRoute(shell, { ignoreURLParametersMatching: [/./], cleanURLs: false });
// The converter's vocabulary comes with the first conversion, and stays.
registerRoute(/\/assets\/merges-[^/]*\.txt$/, new CacheFirst({ cacheName: "fraise-vocabulary" }));
registerRoute(
  ({ url }) => url.origin === scope.origin && url.pathname === new URL(SHARE_PATH, scope).pathname,
  async ({ request }) => {
    const isKept = await keepShared(await request.formData());
    return Response.redirect(new URL(isKept ? "./?shared" : "./", scope), 303);
  },
  "POST",
);
