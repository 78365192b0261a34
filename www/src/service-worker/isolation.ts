/**
 * Isolates the studio across origins on hosts that cannot: only on such pages do browsers let workers share memory, so that
 * the processor computes on several threads (`../engine/crew.ts`). It takes a service worker that answers for the page, hence
 * the second visit, or a reload.
 *
 * Only the kept files come this way, of which one is a page: the studio's. `embed.html` and other people's pages in the same
 * folder come from the network, as their host sends them.
 */
import type { WorkboxPlugin } from "workbox-core/types.js";

const EMBEDDER_POLICY = ["cross-origin-embedder-policy", "require-corp"] as const;

/**
 * The headers by what a file is asked for as. Browsers refuse an isolated page's workers whose own scripts do not say the
 * same, and the workers of those; to workers of other pages the header makes no difference, since they ask for nothing but by
 * CORS. In a frame the studio's page is what the page around it allows.
 */
const HEADERS: Partial<Record<RequestDestination, ReadonlyArray<readonly [name: string, value: string]>>> = {
  document: [["cross-origin-opener-policy", "same-origin"], EMBEDDER_POLICY],
  worker: [EMBEDDER_POLICY],
};

/** Adds them to what is answered with; what the host itself says of the two stands. */
export const isolation: WorkboxPlugin = {
  handlerWillRespond: async ({ request, response }) => {
    const added = HEADERS[request.destination];
    if (!added) return response;
    const headers = new Headers(response.headers);
    for (const [name, value] of added) if (!headers.has(name)) headers.set(name, value);
    // Not Workbox's `copyResponse`, which refuses answers without an address: what a host redirects (`index.html` to `./`) is kept so.
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  },
};
