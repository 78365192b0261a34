/** Files that the operating system hands to the installed app: shared with it, or opened in it. */
import { takeShared } from "../service-worker/shared";

/** Not in TypeScript's library yet. */
interface LaunchQueue {
  setConsumer(consumer: (launch: { readonly files?: readonly FileSystemFileHandle[] }) => void): void;
}

/** Hands what was shared before the page opened, and what is opened with it from now on, to `take`. */
export async function takeLaunchFiles(take: (file: File) => void): Promise<void> {
  const { launchQueue } = window as { launchQueue?: LaunchQueue };
  launchQueue?.setConsumer(({ files }) => void files?.[0]?.getFile().then(take, () => undefined)); // gone meanwhile
  if (!new URLSearchParams(location.search).has("shared")) return;
  history.replaceState(history.state, "", location.pathname + location.hash);
  const shared = await takeShared().catch(() => null);
  if (shared) take(shared);
}
