/**
 * The isolated painter: one element on a page of its own, for a frame in someone else's.
 *
 * `embed.html?parent=ORIGIN&model=ADDRESS`: the origin of the page around it, the only one that is listened and talked to,
 * and a pack on this page's own site. Only a click in here starts anything.
 */
import "../trusted-types";
import "./embed.css";
import { FraiseError, type Picture, type Progress, type Step } from "../engine/index";
import { MODEL_URL } from "../app/model";
import { FraisePainter } from "../painter";
import { PROTOCOL, RateLimit, toFrameMessage, VERSION, type FromFrame, type PainterSettings } from "./protocol";

const BURST = 20;
const PER_SECOND = 10;

customElements.define("fraise-painter", FraisePainter);
const asked = new URLSearchParams(location.search);
const painter = document.createElement("fraise-painter");
painter.model = modelOf(asked.get("model"));
document.body.append(painter);
const parentOrigin = parentOf(asked.get("parent"));
if (parentOrigin !== null) listen(parentOrigin);

/** The pack of that address, if it is on this site; else the default one. */
function modelOf(address: string | null): string {
  const url = URL.parse(address ?? MODEL_URL, location.href);
  return url?.origin === location.origin ? url.href : MODEL_URL;
}

/** The origin around this page, if it is the named one as far as the browser tells; null where there is none. */
function parentOf(named: string | null): string | null {
  if (window.parent === window || named === null || URL.parse(named)?.origin !== named) return null;
  const actual = location.ancestorOrigins?.[0];
  return actual === undefined || actual === named ? named : null;
}

function listen(origin: string): void {
  const limit = new RateLimit(BURST, PER_SECOND);
  let isGreeted = false;
  const tell = (message: FromFrame) => {
    if (isGreeted) window.parent.postMessage({ protocol: PROTOCOL, version: VERSION, ...message }, origin);
  };
  const tellHeight = () => tell({ type: "height", px: Math.ceil(document.body.getBoundingClientRect().height) });
  addEventListener("message", (event) => {
    if (event.origin !== origin || event.source !== window.parent || !limit.allows(performance.now())) return;
    const message = toFrameMessage(event.data);
    if (message?.type === "hello") {
      isGreeted = true;
      tell({ type: "ready" });
      tellHeight();
    } else if (message?.type === "set") apply(message.settings);
    else if (message?.type === "cancel") painter.cancel();
  });
  new ResizeObserver(tellHeight).observe(document.body);
  forward(tell);
}

function apply(settings: PainterSettings): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value === null || value === false) painter.removeAttribute(name);
    else painter.setAttribute(name, value === true ? "" : String(value));
  }
}

function forward(tell: (message: FromFrame) => void): void {
  const on = <T>(name: string, toMessage: (detail: T) => FromFrame) =>
    painter.addEventListener(`fraise-${name}`, (event) => tell(toMessage((event as CustomEvent<T>).detail)));
  on<Progress>("progress", ({ loadedBytes, totalBytes }) => ({ type: "progress", loadedBytes, totalBytes }));
  on<Step>("step", ({ index, total }) => ({ type: "step", index, total }));
  on<Picture>("result", ({ blob, request }) => ({ type: "result", png: blob, prompt: request.prompt, seed: Number(request.seed) }));
  on<unknown>("error", (error) => ({
    type: "error",
    code: error instanceof FraiseError ? error.code : "Internal",
    message: error instanceof Error ? error.message : String(error),
  }));
}
