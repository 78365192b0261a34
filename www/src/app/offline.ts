/** Registers the service worker that keeps the page for offline use. The visitor decides when a newer version takes over. */
import { Workbox } from "workbox-window";
import type { Studio } from "./store";

/** Starts keeping the page. Where that is not possible the page works all the same, online. */
export async function keepForOffline(studio: Studio): Promise<void> {
  if (!("serviceWorker" in navigator) || !import.meta.env.PROD) return;
  const workbox = new Workbox("./sw.js");
  workbox.addEventListener("waiting", () =>
    studio.offerUpdate(() => {
      workbox.addEventListener("controlling", () => location.reload());
      workbox.messageSkipWaiting();
    }),
  );
  await workbox.register().catch(() => undefined);
}
