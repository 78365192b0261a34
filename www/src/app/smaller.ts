/** The studio's offer to paint smaller what the device was lost with. */
import { sizeIn } from "./form";
import { isLoss, offerAfter, type SmallerOffer } from "./losses";
import type { QueueEntry } from "./queue";
import { halved, type Sides } from "./sides";
import type { StudioState } from "./state";

/** What is offered now, if anything: for the first picture that was lost, or for the form's where live painting was. */
export function smallerOffer(state: StudioState): SmallerOffer | null {
  const { activity, device, isLive, losses, runsOn } = state;
  if (activity.kind !== "failed" || !isLoss(activity.code)) return null;
  const lost = state.queue.find(isLost);
  if (!lost && !isLive) return null;
  const sides = lost ? sidesOf(lost, state) : sizeIn(state);
  return offerAfter(losses, { sides, recommended: recommendedIn(state), device, runsOn });
}

/** An entry as it is painted next: smaller where it was lost, with the same words and the same seed. */
export function smallerAfterLoss(entry: QueueEntry, state: StudioState): QueueEntry {
  if (!isLost(entry)) return entry;
  return { ...entry, request: { ...entry.request, ...halved(sidesOf(entry, state), recommendedIn(state)) } };
}

function isLost({ status, failure }: QueueEntry): boolean {
  return status === "failed" && isLoss(failure);
}

function sidesOf({ request }: QueueEntry, state: StudioState): Sides {
  const { width, height } = recommendedIn(state);
  return { width: request.width ?? width, height: request.height ?? height };
}

function recommendedIn(state: StudioState): Sides {
  return sizeIn({ ...state, width: null, height: null });
}
