/** The edges of a picture in its frame, taken hold of and pulled inwards so that it is continued beyond them. */
import type { Point } from "./easel";

/** One of a picture's four edges. */
export type Edge = "left" | "right" | "top" | "bottom";

/** A frame, in pixels. */
export interface Frame {
  readonly width: number;
  readonly height: number;
}

/** Where the whole picture comes to lie: so many times as large, its middle moved by so many pixels. */
export interface Placing {
  readonly by: Point;
  readonly scale: number;
}

/** How near to an edge one takes hold of it, of the frame's side. */
const GRIP = 0.1;
/** The smallest that a picture is pulled to. */
const MIN_SCALE = 0.25;

/** All edges. */
export const EDGES = ["left", "right", "top", "bottom"] as const satisfies readonly Edge[];

/** The edge that a point is at, or null. */
export function edgeAt(point: Point, frame: Frame): Edge | null {
  const shares = EDGES.map((edge) => ({ edge, share: depthOf(edge, point, frame) / sideOf(edge, frame) }));
  const nearest = shares.reduce((best, other) => (other.share < best.share ? other : best));
  return nearest.share < GRIP ? nearest.edge : null;
}

/** The picture with an edge at a point: whole, smaller, and against the opposite edge. */
export function pulledTo(edge: Edge, point: Point, frame: Frame): Placing {
  const side = sideOf(edge, frame);
  const depth = Math.min(Math.max(depthOf(edge, point, frame), 0), (1 - MIN_SCALE) * side);
  const by = edge === "left" || edge === "top" ? depth / 2 : -depth / 2;
  return { by: isUpright(edge) ? { x: by, y: 0 } : { x: 0, y: by }, scale: 1 - depth / side };
}

/** As {@link pulledTo}, the edge that lies behind a movement, by so many pixels. */
export function pulledBy({ x, y }: Point, frame: Frame): Placing {
  const edge = x > 0 ? "left" : x < 0 ? "right" : y > 0 ? "top" : "bottom";
  return pulledTo(edge, { x: x < 0 ? frame.width + x : x, y: y < 0 ? frame.height + y : y }, frame);
}

/** How far inside of an edge a point lies, in pixels. */
function depthOf(edge: Edge, { x, y }: Point, { width, height }: Frame): number {
  return { left: x, right: width - x, top: y, bottom: height - y }[edge];
}

function sideOf(edge: Edge, { width, height }: Frame): number {
  return isUpright(edge) ? width : height;
}

function isUpright(edge: Edge): boolean {
  return edge === "left" || edge === "right";
}
