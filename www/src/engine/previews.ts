/**
 * A second worker that decodes previews while the engine's own computes the next step; on the processor that is half of a
 * picture's time. It shares no memory, so that any page may have it. The page starts and ends it (`members.ts`).
 */
import type { Previewer } from "../wasm/fraise_web.js";
import { tell } from "./tell";
import { wasm } from "./wasm";

/** What a worker is told that is to decode previews. */
export interface PreviewEnlistment {
  readonly previews: MessagePort;
  readonly module: WebAssembly.Module;
}

/** What the page is told that is to start such a worker, in the place of an earlier one. */
export interface PreviewCall extends PreviewEnlistment {
  /** Address of the worker's script, which is that of the engine's own. */
  readonly script: string;
}

/** A pack's decoder, or latents to be decoded: N pictures' numbers of `shape` [N, C, h, w]. */
type Question =
  | { readonly load: number; readonly manifest: Uint8Array; readonly pieces: readonly Uint8Array[] }
  | { readonly decode: number; readonly latents: Float32Array; readonly shape: Uint32Array; readonly isTiling: boolean };

/** Numbers [3, height, width] in [0, 1], height and width. */
type Image = readonly [Float32Array, number, number];

/** What comes of a question, and first of all that the worker is there; `bytes` are those of its WebAssembly memory. */
type Answer =
  | { readonly isThere: true; readonly bytes: number }
  | { readonly loaded: number; readonly isReady: boolean; readonly bytes: number }
  | { readonly decoded: number; readonly images: readonly Image[] | null; readonly bytes: number };

/** How long it may take to start. */
const START_LIMIT_MS = 5000;

/** Hears whether the worker that was called last is there. */
let answer: (isThere: boolean) => void = () => undefined;

/** Has the page start one; null where it does not start. */
export async function startPreviews(module: WebAssembly.Module): Promise<PreviewWorker | null> {
  const isThere = new Promise<boolean>((resolve) => {
    answer = resolve;
    setTimeout(() => resolve(false), START_LIMIT_MS);
  });
  const worker = new PreviewWorker(module, answer);
  if (await isThere) return worker;
  worker.end();
  return null;
}

/** The page says that it cannot be had. */
export function previewless(): void {
  answer(false);
}

/** The engine's end of the line. */
export class PreviewWorker {
  readonly #port: MessagePort;
  readonly #open = new Map<number, (images: readonly Image[] | null) => void>();
  #last = 0;
  /** The load whose decoder is there, or is to be. */
  #loaded = 0;
  #isReady = false;
  #bytes = 0;

  readonly #onThere: (isThere: boolean) => void;

  /** Has the page start one. */
  constructor(module: WebAssembly.Module, onThere: (isThere: boolean) => void) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#onThere = onThere;
    port1.onmessage = ({ data }: MessageEvent<Answer>) => this.#receive(data);
    tell({ previews: port2, module, script: globalThis.location.href }, [port2]);
  }

  /** Whether it has the decoder of the pack that was loaded last. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Bytes of its WebAssembly memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Gives it a pack's decoder in the place of an earlier one. */
  load(manifest: Uint8Array, pieces: readonly Uint8Array[]): void {
    this.forget();
    this.#ask({ load: this.#loaded, manifest, pieces }, [manifest.buffer, ...pieces.map(({ buffer }) => buffer)]);
  }

  /** Has it decode; gives null where that goes wrong, and nothing where the worker is gone. */
  decode(latents: Float32Array, shape: Uint32Array, isTiling: boolean): Promise<readonly Image[] | null> {
    const decode = (this.#last += 1);
    return new Promise((resolve) => {
      this.#open.set(decode, resolve);
      this.#ask({ decode, latents, shape, isTiling }, [latents.buffer]);
    });
  }

  /** Has it decode nothing until the next load; what is under way gives null. */
  forget(): void {
    this.#loaded += 1;
    this.#isReady = false;
    for (const resolve of this.#open.values()) resolve(null);
    this.#open.clear();
  }

  /** Ends it. */
  end(): void {
    this.forget();
    this.#port.close();
    tell({ previews: null });
  }

  #ask(question: Question, transfer: readonly ArrayBufferLike[]): void {
    this.#port.postMessage(question, transfer as ArrayBuffer[]);
  }

  #receive(answer: Answer): void {
    this.#bytes = answer.bytes;
    if ("isThere" in answer) {
      this.#onThere(true);
    } else if ("loaded" in answer) {
      if (answer.loaded === this.#loaded) this.#isReady = answer.isReady;
    } else {
      this.#open.get(answer.decoded)?.(answer.images);
      this.#open.delete(answer.decoded);
    }
  }
}

/** Makes this worker one that decodes previews. */
export function decodePreviews({ previews: port, module }: PreviewEnlistment): void {
  const { memory } = wasm.initSync({ module });
  const bytes = () => memory.buffer.byteLength;
  let previewer: Previewer | null = null;
  const there: Answer = { isThere: true, bytes: bytes() };
  port.postMessage(there);
  port.onmessage = async ({ data }: MessageEvent<Question>) => {
    if ("load" in data) {
      previewer?.free();
      previewer = await wasm.Previewer.load(data.manifest, [...data.pieces]).catch(complain);
      const answer: Answer = { loaded: data.load, isReady: previewer !== null, bytes: bytes() };
      return port.postMessage(answer);
    }
    const images = ((await previewer?.decode(data.latents, data.shape, data.isTiling).catch(complain)) ?? null) as readonly Image[] | null;
    const answer: Answer = { decoded: data.decode, images, bytes: bytes() };
    port.postMessage(answer, (images ?? []).map(([{ buffer }]) => buffer as ArrayBuffer));
  };
}

function complain(reason: unknown): null {
  console.warn("Fraise decodes previews in its own worker, since the other one fails:", reason);
  return null;
}
