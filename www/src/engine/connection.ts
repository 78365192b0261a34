/** One worker, those that help it, and the calls under way in it. A worker that dies fails every open call and all later ones. */
import type { CrewCall } from "./crew";
import { FraiseError, internalError, type ErrorShape } from "./errors";
import { Members } from "./members";
import type { CallMessage, CallName, Calls, FromWorker, NoticeMessage, Progress } from "./protocol";

/** How long a dead worker's messages are waited for. */
const LAST_WORDS_MS = 100;

interface OpenCall {
  resolve(result: Calls[CallName]["result"]): void;
  reject(error: FraiseError): void;
}

/** The page's end of the line to the worker. */
export class Connection {
  readonly #worker: Worker;
  readonly #members = new Members();
  readonly #openCalls = new Map<number, OpenCall>();
  readonly #progressOf = new Map<number, (progress: Progress) => void>();
  #lastId = 0;
  #fault: FraiseError | null = null;

  constructor() {
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "fraise" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onmessageerror = () => this.#die(internalError("a message could not be read"));
    this.#worker.onerror = (event) => {
      event.preventDefault();
      // Without a message the script itself did not load.
      const unloaded = "its worker's script could not be loaded; the host must have it on the page's own origin, and send it as text/javascript";
      const fault = internalError(event.message || unloaded);
      // A panic ends in a trap that says nothing; the worker's own account of it may be still on its way.
      setTimeout(() => this.#die(fault), LAST_WORDS_MS);
    };
  }

  /** Why the worker is gone, or null while it works. */
  get fault(): FraiseError | null {
    return this.#fault;
  }

  /** Makes a call. Rejects with `FraiseError`; cancelling is a matter of notices. */
  call<Name extends CallName>(name: Name, params: Calls[Name]["params"]): Promise<Calls[Name]["result"]> {
    if (this.#fault) return Promise.reject(this.#fault);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<Calls[Name]["result"]>((resolve, reject) => {
      this.#openCalls.set(id, { resolve: resolve as OpenCall["resolve"], reject });
      this.#worker.postMessage({ id, call: name, params } as CallMessage);
    });
  }

  /** Tells the worker something; a worker that is gone needs to know nothing. */
  notify(notice: NoticeMessage, transfer: Transferable[] = []): void {
    if (!this.#fault) this.#worker.postMessage(notice, transfer);
  }

  /** Has `listener` hear a load's progress until the returned function is called. */
  onProgress(job: number, listener: (progress: Progress) => void): () => void {
    this.#progressOf.set(job, listener);
    return () => this.#progressOf.delete(job);
  }

  /** Ends the worker and everything in it; open calls reject. */
  close(): void {
    this.#die(internalError("the engine was closed"));
  }

  #receive(message: FromWorker): void {
    if ("fatal" in message) {
      this.#die(new FraiseError(message.fatal));
    } else if ("progress" in message) {
      this.#progressOf.get(message.job)?.(message.progress);
    } else if ("crew" in message) {
      void this.#muster(message);
    } else if ("dismissed" in message) {
      this.#members.end(message.dismissed);
    } else if ("previews" in message) {
      if (message.previews === null) this.#members.endPreviews();
      else this.#members.startPreviews(message, () => this.notify({ notice: "previewless" }));
    } else {
      const open = this.#openCalls.get(message.id);
      this.#openCalls.delete(message.id);
      if ("error" in message) open?.reject(errorFrom(message.error));
      else open?.resolve(message.result);
    }
  }

  async #muster(call: CrewCall): Promise<void> {
    if (this.#fault) return;
    const isThere = await this.#members.start(call);
    this.notify({ notice: "mustered", crew: call.crew, isThere });
  }

  #die(fault: FraiseError): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.#worker.terminate();
    this.#members.end();
    this.#members.endPreviews();
    for (const open of this.#openCalls.values()) open.reject(fault);
    this.#openCalls.clear();
    this.#progressOf.clear();
  }
}

function errorFrom(shape: ErrorShape): FraiseError {
  return new FraiseError(shape);
}
