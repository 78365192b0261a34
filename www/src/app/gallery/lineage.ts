/** Which kept pictures came from which. */
import type { KeptPicture } from "./database";

/** A picture and, of what came from it, those that are shown. */
export interface Branch {
  readonly picture: KeptPicture;
  readonly branches: readonly Branch[];
}

/** Most pictures of a lineage; a family of thousands would be no picture of anything. */
const MAX_PICTURES = 200;

/**
 * A picture's lineage among the kept ones, from the first that it came from to the last that came of it. One of two parents
 * stands beneath both, with what came of it beneath the first alone.
 */
export function lineageOf(picture: KeptPicture, kept: readonly KeptPicture[]): Branch[] {
  const byId = new Map(kept.map((other) => [other.id, other]));
  const parentsOf = ({ parents = [] }: KeptPicture) => parents.flatMap((id) => byId.get(id) ?? []);
  const children = new Map<string, KeptPicture[]>();
  for (const child of kept.toSorted((a, b) => a.timeMs - b.timeMs)) {
    for (const { id } of parentsOf(child)) children.set(id, [...(children.get(id) ?? []), child]);
  }
  const ancestors = reached(picture, parentsOf);
  const roots = [...ancestors].filter((ancestor) => !parentsOf(ancestor).some((parent) => ancestors.has(parent)));
  const shown = new Set([...ancestors, ...reached(picture, ({ id }) => children.get(id) ?? [])]);
  const drawn = new Set<KeptPicture>();
  const grow = (from: KeptPicture): Branch => {
    const isNew = !drawn.has(from);
    drawn.add(from);
    const next = isNew ? (children.get(from.id) ?? []).filter((child) => shown.has(child)) : [];
    return { picture: from, branches: next.map(grow) };
  };
  return (roots.length > 0 ? roots : [picture]).map(grow);
}

/** A picture and all that one comes to from it, step by step; imported pictures may even name each other. */
function reached(from: KeptPicture, next: (picture: KeptPicture) => readonly KeptPicture[]): Set<KeptPicture> {
  const found = new Set([from]);
  for (const picture of found) {
    for (const other of next(picture)) if (found.size < MAX_PICTURES) found.add(other);
  }
  return found;
}
