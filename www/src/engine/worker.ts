/**
 * The worker: owns the WebAssembly engine, its device and the canvases, and answers the page's calls.
 *
 * A panic in WebAssembly leaves its promise open for ever, so each way in which the engine can die ends in one `fatal`
 * message, on which the page fails every open call.
 *
 * The same script is that of the workers that help the engine's own (`crew.ts`, `previews.ts`).
 */
import type { FraiseEngine, Run } from "../wasm/fraise_web.js";
import { crewSize, enlist, mustered, startCrew } from "./crew";
import { internalError, isErrorShape, networkError, requestError, type ErrorShape } from "./errors";
import { hostFault } from "./host";
import { ByteMeter, StepMeter } from "./pace";
import { keepToOrigin } from "./origin";
import { canPaintFromGpu, nextFrame } from "./painting";
import { croppedPixelsOf, MAX_PICTURE_BYTES, pixelsOf } from "./pictures";
import { decodePreviews, previewless, startPreviews } from "./previews";
import type {
  CallMessage,
  CallName,
  Calls,
  FromWorker,
  Picture,
  PictureSource,
  StepMessage,
  ToWorker,
} from "./protocol";
import { inTurn, type Report } from "./turns";
import { wasm, WASM_URL } from "./wasm";

interface WorkerScope {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

/** A load or a run under way. There is one at a time; the page queues them. */
interface Job {
  readonly number: number;
  readonly controller: AbortController;
  run: Run | null;
  /** Whether its steps are painted on a canvas. */
  isShown: boolean;
  /** Settles when the call that is working on this job has ended. */
  busy: Promise<void>;
  readonly meter: StepMeter;
}

const scope = self as unknown as WorkerScope;
let engine: FraiseEngine | null = null;
let job: Job | null = null;
/** The run that made the finished picture, and its last step. */
let finished: { job: number; index: number } | null = null;

scope.addEventListener("unhandledrejection", (event) => die(reasonOf(event.reason)));
scope.onmessage = ({ data }) => {
  if ("call" in data) void answer(data);
  else if ("member" in data) enlist(data);
  else if ("previews" in data) decodePreviews(data);
  else if (data.notice === "cancel") cancel(data.job);
  else if (data.notice === "mustered") mustered(data.crew, data.isThere);
  else if (data.notice === "previewless") previewless();
  else if (data.notice === "attach") engine?.attach(data.canvas, data.surface);
  else engine?.release(data.canvas);
};

/** Runs one call and sends its answer. */
async function answer(message: CallMessage): Promise<void> {
  const { id } = message;
  try {
    const result = await perform(message);
    const bitmaps = Array.isArray(result) ? result.filter((part): part is ImageBitmap => part instanceof ImageBitmap) : [];
    scope.postMessage({ id, result }, bitmaps);
  } catch (error) {
    // A trap (`unreachable`, out of memory) leaves WebAssembly in no state to go on.
    if (error instanceof WebAssembly.RuntimeError) die(reasonOf(error));
    else scope.postMessage({ id, error: shapeOf(error) });
  }
}

function perform(message: CallMessage): Promise<Calls[CallName]["result"]> {
  switch (message.call) {
    case "create":
      return create(message.params);
    case "load":
      return load(message.params);
    case "requirements":
      return requirements(message.params);
    case "inspect":
      return inspect(message.params);
    case "convert":
      return convert(message.params);
    case "models":
      return started().models() as Promise<Calls["models"]["result"]>;
    case "remove":
      return remove(message.params);
    case "generate":
      return generate(message.params);
    case "next":
      return next(message.params);
    case "images":
      return images(message.params);
    case "stop":
      return stop(message.params);
    case "last":
      return last();
    case "savedLike":
      return savedLike(message.params);
    case "isMarked":
      return isMarked(message.params);
    case "upscale":
      return upscale(message.params);
    case "score":
      return score(message.params);
    case "memory":
      return Promise.resolve(started().memory() as Calls["memory"]["result"]);
  }
}

async function create({ device, precision, keepsToOrigin }: Calls["create"]["params"]): Promise<Calls["create"]["result"]> {
  if (keepsToOrigin) keepToOrigin();
  await wasm.default({ module_or_path: WASM_URL }).catch(async (error: unknown) => {
    throw (await hostFault(WASM_URL, "application/wasm")) ?? error;
  });
  const paintsFromGpu = device !== "cpu" && (await canPaintFromGpu());
  const helpers = { members: crewSize(), startCrew, startPreviews };
  engine = await wasm.FraiseEngine.create(device, die, paintsFromGpu, helpers, precision);
  return deviceInfo();
}

async function load({ job: number, url }: Calls["load"]["params"]): Promise<Calls["load"]["result"]> {
  return within(number, (report, signal) => {
    const work = async (tell: Report) => ({ pack: await started().load(url, tell, signal), device: deviceInfo() });
    return inTurn({ address: url, phase: "download", signal, report, work });
  });
}

async function requirements({ job: number, url }: Calls["requirements"]["params"]): Promise<Calls["requirements"]["result"]> {
  return within(number, (_report, signal) => started().requirements(url, signal));
}

async function inspect({ job: number, source }: Calls["inspect"]["params"]): Promise<Calls["inspect"]["result"]> {
  return within(number, async (_report, signal) => started().inspect(source, await vocabulary(signal), signal));
}

async function convert(params: Calls["convert"]["params"]): Promise<Calls["convert"]["result"]> {
  const { job: number, source, name, quant, prediction } = params;
  return within(number, async (report, signal) => {
    const options = { name, quant, prediction, vocabulary: await vocabulary(signal) };
    const work = (tell: Report) => started().convert(source, options, tell, signal);
    return inTurn({ address: `local:${encodeURIComponent(name)}`, phase: "convert", signal, report, work });
  });
}

/** The byte pairs of CLIP's tokenizer, which checkpoints do not carry. Fetched only here; the service worker keeps it. */
async function vocabulary(signal: AbortSignal): Promise<Uint8Array> {
  const url = new URL("../../../models/clip-vocabulary/merges.txt", import.meta.url).href;
  const response = await fetch(url, { signal }).catch(() => null);
  if (!response?.ok) throw networkError(url, response?.status ?? 0);
  return new Uint8Array(await response.arrayBuffer());
}

async function remove({ job: number, address }: Calls["remove"]["params"]): Promise<null> {
  return within(number, async (report, signal) => {
    await inTurn({ address, phase: "download", signal, report, work: () => started().remove(address) });
    return null;
  });
}

/** Does a job that is one call into the engine. */
async function within<T>(number: number, work: (report: Report, signal: AbortSignal) => Promise<unknown>): Promise<T> {
  const current = begin(number);
  try {
    return (await work(reporter(number), current.controller.signal)) as T;
  } finally {
    job = null;
  }
}

/** Tells the page how far a job is, now and then. */
function reporter(number: number): Report {
  const meter = new ByteMeter();
  return (phase, loadedBytes, totalBytes) => {
    const progress = meter.report(phase, loadedBytes, totalBytes, performance.now());
    if (progress) scope.postMessage({ job: number, progress });
  };
}

/** What the pack may do without, and the engine fetches when it is first used. */
type OptionalComponent = "upscaler" | "scorer" | "vae_encoder";

/** Does work that fetches those of the components that the engine lacks: then in turn with the other tabs. */
function bringing<T>(
  components: readonly OptionalComponent[],
  { signal, report }: { readonly signal: AbortSignal; readonly report: Report },
  work: (report: Report) => Promise<T>,
): Promise<T> {
  const address = started().address();
  const isLacking = components.some((component) => started().lacks(component));
  if (address === undefined || !isLacking) return work(report);
  return inTurn({ address, phase: "download", signal, report, work });
}

async function generate(params: Calls["generate"]["params"]): Promise<Calls["generate"]["result"]> {
  const current = begin(params.job);
  finished = null;
  const canvas = params.canvas ?? undefined;
  current.isShown = canvas !== undefined;
  const { image, mask, ...request } = params.request;
  const [start, kept] = await Promise.all([image && pixelsOf(image, "image"), mask && pixelsOf(mask, "mask")]);
  const { signal } = current.controller;
  const needed: OptionalComponent[] = [...(request.upscale ? (["upscaler"] as const) : []), ...(start ? (["vae_encoder"] as const) : [])];
  current.run = await bringing(needed, { signal, report: reporter(params.job) }, (report) =>
    started().generate(request, [start, kept, canvas], report, signal),
  );
  return current.run.request() as Calls["generate"]["result"];
}

async function next({ job: number }: Calls["next"]["params"]): Promise<StepMessage | null> {
  const { run, meter, isShown } = currentRun(number);
  const startMs = performance.now();
  const step = (await busyWhile(run.next())) as { index: number; total: number; computed: number } | undefined;
  if (!step) return null;
  const { index, total, computed } = step;
  const durationMs = performance.now() - startMs;
  if (isShown && deviceInfo().kind === "cpu") await nextFrame();
  if (index + 1 === total) finished = { job: number, index };
  return { index, total, etaMs: meter.note(durationMs, computed, total) };
}

async function images({ job: number, index }: Calls["images"]["params"]): Promise<ImageBitmap[]> {
  const isFinished = finished?.job === number && finished.index === index;
  const pixels = isFinished ? started().lastImages() : await busyWhile(currentRun(number).run.images(index));
  return Promise.all((pixels as ImageData[]).map((image) => createImageBitmap(image)));
}

async function stop({ job: number }: Calls["stop"]["params"]): Promise<null> {
  if (job?.number !== number) return null;
  const ending = job;
  ending.controller.abort();
  await ending.busy;
  ending.run?.free();
  job = null;
  return null;
}

function last(): Promise<Picture[]> {
  const pictures = started().last() as ({ png: Uint8Array<ArrayBuffer> } & Omit<Picture, "blob">)[];
  return Promise.resolve(pictures.map(({ png, ...rest }) => ({ blob: pngBlob(png), ...rest })));
}

async function upscale({ job: number, picture }: Calls["upscale"]["params"]): Promise<Blob> {
  return within(number, async (report, signal) => {
    const given = await forEngine(picture);
    return pngBlob(await bringing(["upscaler"], { signal, report }, (tell) => started().upscale(given, tell, signal)));
  });
}

async function savedLike({ job: number, pixels, like }: Calls["savedLike"]["params"]): Promise<Blob> {
  return within(number, async () => pngBlob(started().savedLike(pixels, (await forEngine(like)) as Uint8Array)));
}

async function isMarked({ job: number, picture }: Calls["isMarked"]["params"]): Promise<boolean> {
  return within(number, async () => started().isMarked(await croppedPixelsOf(picture)));
}

async function score({ job: number, prompt, pictures }: Calls["score"]["params"]): Promise<number[]> {
  return within(number, async (report, signal) => {
    const given = await Promise.all(pictures.map(forEngine));
    return Array.from(await bringing(["scorer"], { signal, report }, (tell) => started().score(prompt, given, tell, signal)));
  });
}

/** A picture as the engine takes it; it refuses what is longer than it reads. */
async function forEngine(picture: PictureSource): Promise<Uint8Array | ImageData> {
  if (picture instanceof ImageData) return picture;
  return new Uint8Array(await picture.slice(0, MAX_PICTURE_BYTES + 1).arrayBuffer());
}

function pngBlob(png: Uint8Array): Blob {
  return new Blob([png as Uint8Array<ArrayBuffer>], { type: "image/png" });
}

function cancel(number: number): void {
  if (job?.number === number) job.controller.abort();
}

function begin(number: number): Job {
  job = { number, controller: new AbortController(), run: null, isShown: false, busy: Promise.resolve(), meter: new StepMeter() };
  return job;
}

/** Marks the job as busy while `work` is under way, so that `stop` waits for it. */
function busyWhile<T>(work: Promise<T>): Promise<T> {
  if (job) job.busy = Promise.all([job.busy, work]).then(ignore, ignore);
  return work;
}

function ignore(): void {}

function started(): FraiseEngine {
  if (!engine) throw internalError("a call came before the engine was created");
  return engine;
}

function deviceInfo(): Calls["create"]["result"] {
  return started().info() as Calls["create"]["result"];
}

function currentRun(number: number): { run: Run; meter: StepMeter; isShown: boolean } {
  if (job?.number !== number || !job.run) throw requestError("step", "its run has ended, so it is no longer held");
  return { run: job.run, meter: job.meter, isShown: job.isShown };
}

/** Tells the page that this worker cannot go on. */
function die(reason: string): void {
  scope.postMessage({ fatal: plain(internalError(reason)) });
}

function shapeOf(error: unknown): ErrorShape {
  return isErrorShape(error) ? plain(error) : plain(internalError(reasonOf(error)));
}

function plain({ code, message, details }: ErrorShape): ErrorShape {
  return { code, message, details };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
