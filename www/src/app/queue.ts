/** The pictures that wait to be painted, one after the other or those asked for at once together; remembered, so that they survive a reload. */
import { isAbortError, type GenerateRequest } from "../engine/index";
import { asRecord } from "./model";
import { randomId } from "./random";

/** One picture that was asked for. */
export interface QueueEntry {
  /** Unlike every other entry's. */
  readonly id: string;
  /** The same for pictures asked for at once. */
  readonly batch: string;
  readonly request: GenerateRequest & { readonly seed: number };
  /** The kept pictures that it comes from, at most two. */
  readonly parents: readonly string[];
  /** `waiting` ones follow by themselves; `paused` ones wait until the visitor starts them. */
  readonly status: "waiting" | "painting" | "paused" | "failed";
  /** Why it failed; empty unless it did. */
  readonly failure: string;
}

/** Pictures that are painted together, or one. */
export type Together = readonly [QueueEntry, ...QueueEntry[]];

/** How many pictures can be asked for at once. */
export const COUNTS = [1, 2, 4] as const;

/** One of {@link COUNTS}. */
export type Count = (typeof COUNTS)[number];

/** More do not fit in the queue. */
export const MAX_QUEUE = 64;

const QUEUE_KEY = "fraise.queue";
const MAX_PROMPT_LENGTH = 2000;

/** Entries for `count` pictures that differ in their seeds, which follow each other. */
export function batchOf(
  request: GenerateRequest & { readonly seed: number },
  count: number,
  parents: readonly string[] = [],
): QueueEntry[] {
  const batch = randomId();
  return Array.from({ length: count }, (_, index) => {
    const seed = (request.seed + index) % (Number.MAX_SAFE_INTEGER + 1);
    return { id: randomId(), batch, request: { ...request, seed }, parents, status: "waiting", failure: "" };
  });
}

/** What the queue needs of its owner. */
export interface QueueOwner {
  /** Shows the queue as it is now. */
  show(entries: readonly QueueEntry[]): void;
  /**
   * Paints a picture; with up to `most` - 1 others that wait and differ from it in their noise and words alone, those that
   * `together` gives. Rejects with what went wrong, and with `AbortError` where `signal` ended it.
   */
  paint(together: (most: number) => Together, signal: AbortSignal): Promise<void>;
  /** What to call an error. */
  nameOf(error: unknown): string;
}

/** Paints what was asked for in its order. One failure stops nothing that comes after it. */
export class PaintingQueue {
  readonly #owner: QueueOwner;
  #entries: readonly QueueEntry[] = [];
  #run: AbortController | null = null;

  constructor(owner: QueueOwner) {
    this.#owner = owner;
  }

  /** Whether it is painting. */
  get isRunning(): boolean {
    return this.#run !== null;
  }

  /** Brings back what an earlier visit left, all of it paused. */
  restore(): void {
    this.#set(rememberedQueue());
  }

  /** Adds entries, as far as there is room, and paints what waits; failures seen so far are forgotten. */
  async add(entries: readonly QueueEntry[]): Promise<void> {
    const others = this.#entries.filter(({ status }) => status !== "failed");
    this.#set([...others, ...entries].slice(0, MAX_QUEUE));
    await this.#workThrough();
  }

  /** Paints what was paused, or what failed, each as `changed` has it, and what waits. */
  async resume(status: "paused" | "failed", changed: (entry: QueueEntry) => QueueEntry = (entry) => entry): Promise<void> {
    this.#set(this.#entries.map((entry) => (entry.status === status ? { ...changed(entry), status: "waiting" } : entry)));
    await this.#workThrough();
  }

  /** Stops the pictures under way and pauses the others. */
  cancel(): void {
    this.#set(this.#entries.map((entry) => (entry.status === "waiting" ? { ...entry, status: "paused" } : entry)));
    this.#run?.abort();
  }

  /** Moves an entry by so many places, within the queue: -1 is one earlier. */
  move(id: string, places: number): void {
    const from = this.#entries.findIndex((entry) => entry.id === id);
    const entry = this.#entries[from];
    if (!entry) return;
    const others = this.#entries.filter((other) => other !== entry);
    others.splice(Math.min(Math.max(from + places, 0), others.length), 0, entry);
    this.#set(others);
  }

  /** Takes out what is not being painted. */
  remove(...ids: string[]): void {
    this.#set(this.#entries.filter(({ id, status }) => status === "painting" || !ids.includes(id)));
  }

  async #workThrough(): Promise<void> {
    if (this.#run) return; // what is under way gets there by itself
    const next = () => this.#entries.find(({ status }) => status === "waiting");
    for (let entry = next(); entry; entry = next()) {
      this.#run = new AbortController();
      await this.#paint(entry, this.#run.signal);
    }
    this.#run = null;
  }

  async #paint(entry: QueueEntry, signal: AbortSignal): Promise<void> {
    const ids = new Set([entry.id]);
    const replace = (by: (entry: QueueEntry) => QueueEntry[]) => {
      this.#set(this.#entries.flatMap((other) => (ids.has(other.id) ? by(other) : [other])));
    };
    const begin = () => replace((waiting) => [{ ...waiting, status: "painting", failure: "" }]);
    const together = (most: number): Together => {
      const others = this.#alike(entry).slice(0, most - 1);
      for (const { id } of others) ids.add(id);
      begin();
      return [entry, ...others];
    };
    begin();
    try {
      await this.#owner.paint(together, signal);
      replace(() => []);
    } catch (error) {
      if (isAbortError(error)) replace(() => []);
      else replace((failed) => [{ ...failed, status: "failed", failure: this.#owner.nameOf(error) }]);
    }
  }

  /** What waits and was asked for at once with an entry, with other noise or words and nothing else. */
  #alike({ batch, request }: QueueEntry): readonly QueueEntry[] {
    const waiting = this.#entries.filter(({ status }) => status === "waiting");
    return waiting.filter((other) => other.batch === batch && canBeTogether(other.request, request));
  }

  #set(entries: readonly QueueEntry[]): void {
    this.#entries = entries;
    rememberQueue(entries);
    this.#owner.show(entries);
  }
}

/** What pictures painted together may differ in. */
const OWN_FIELDS: readonly string[] = ["seed", "variation", "prompt"] satisfies (keyof GenerateRequest)[];

function canBeTogether(one: GenerateRequest, other: GenerateRequest): boolean {
  const fields = Object.keys({ ...one, ...other }) as (keyof GenerateRequest)[];
  return fields.every((field) => OWN_FIELDS.includes(field) || one[field] === other[field]);
}

/** The remembered queue, all of it paused; what is not of the right form is left out. */
function rememberedQueue(): QueueEntry[] {
  try {
    const entries: unknown = JSON.parse(localStorage.getItem(QUEUE_KEY) ?? "[]");
    return Array.isArray(entries) ? entries.slice(0, MAX_QUEUE).flatMap(toEntry) : [];
  } catch {
    return []; // Storage may be off, or hold something else.
  }
}

/** Remembers the queue in place of the one before; what starts from a picture is not kept beyond this visit. */
function rememberQueue(queue: readonly QueueEntry[]): void {
  try {
    if (queue.length > 0) localStorage.setItem(QUEUE_KEY, JSON.stringify(queue.filter(({ request }) => !request.image)));
    else localStorage.removeItem(QUEUE_KEY);
  } catch {
    // Storage may be off; the queue then lasts for this visit.
  }
}

function toEntry(value: unknown): QueueEntry[] {
  const { batch, request } = (value ?? {}) as Record<string, unknown>;
  const { prompt, negative, seed, steps, guidance, width, height, sampler, upscale, tiling, variation } = (request ?? {}) as Record<string, unknown>;
  if (typeof prompt !== "string" || !isWhole(seed)) return [];
  return [
    {
      id: randomId(),
      batch: String(batch).slice(0, 64),
      request: {
        prompt: prompt.slice(0, MAX_PROMPT_LENGTH),
        negative: typeof negative === "string" ? negative.slice(0, MAX_PROMPT_LENGTH) : undefined,
        seed,
        steps: isWhole(steps) ? steps : undefined,
        guidance: typeof guidance === "number" ? guidance : undefined,
        width: isWhole(width) ? width : undefined,
        height: isWhole(height) ? height : undefined,
        sampler: typeof sampler === "string" ? sampler.slice(0, 64) : undefined,
        promptSyntax: "a1111",
        upscale: upscale === true,
        tiling: tiling === true,
        variation: toVariation(variation),
      },
      parents: [],
      status: "paused",
      failure: "",
    },
  ];
}

function toVariation(value: unknown): GenerateRequest["variation"] {
  const { seed, strength } = asRecord(value);
  const isOne = isWhole(seed) && typeof strength === "number" && strength >= 0 && strength <= 1;
  return isOne ? { seed, strength } : undefined;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
