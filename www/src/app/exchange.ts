/** Settings that come from outside, by a picture, a link or the gallery, and those that go out as a link. Nothing here paints. */
import { checkSettings, MAX_NAME_CHARACTERS, SETTING_NAMES, type FoundSettings, type SettingName } from "./exchange/found";
import { readHash, writeHash } from "./exchange/link";
import { readPicture } from "./exchange/picture";
import { Refusal } from "./exchange/refusal";
import { problemOf, type Note, type Restored } from "./note";
import type { Settings } from "./form";

/** What a file may be, by its name and its type. */
export type FileKind = "picture" | "zip" | "checkpoint";

/** What a file seems to be; its reader looks at the bytes. */
export function kindOf({ name, type }: { readonly name?: string; readonly type: string }): FileKind {
  if (type.startsWith("image/") || name?.toLowerCase().endsWith(".png")) return "picture";
  if (/^application\/(x-)?zip(-compressed)?$/.test(type) || name?.toLowerCase().endsWith(".zip")) return "zip";
  return "checkpoint";
}

/** What an exchange needs of the studio. */
export interface ExchangeHost {
  /** Takes settings over into the form, in place of all that was there but the prompt. */
  fillIn(settings: Partial<Settings>): void;
  /** Chooses the listed model of that name, if there is one and it can be chosen now; whether it is the chosen one then. */
  chooseNamed(model: string): boolean;
  /** Starts painting from a picture that says nothing of how it was made. */
  startFrom(file: File): Promise<void>;
  /** Whether the chosen model can make pictures larger. */
  canUpscale(): boolean;
  /** The settings that the form stands for. */
  current(): FoundSettings;
  /** Tells the visitor. */
  tell(note: Note): void;
}

/** The exchange's actions. None rejects: how it ended is told. */
export class Exchange {
  readonly #host: ExchangeHost;

  constructor(host: ExchangeHost) {
    this.#host = host;
  }

  /** Fills in the settings that a PNG was made with; any other picture becomes what painting starts from. */
  async takePicture(file: File): Promise<void> {
    try {
      const made = await readPicture(file).then(
        (picture) => picture.made,
        (error: unknown) => (error instanceof Refusal && error.reason === "notPng" ? null : Promise.reject(error)),
      );
      if (made) this.restore(made.found, made.source);
      else await this.#host.startFrom(file);
    } catch (error) {
      this.#host.tell({ kind: "unreadable", problem: problemOf(error) });
    }
  }

  /** Fills in the settings of the page's address, and takes them out of it. */
  takeAddress(): void {
    const found = readHash(location.hash);
    if (!found) return;
    history.replaceState(history.state, "", location.pathname + location.search);
    this.restore(found, "link");
  }

  /** Writes what the form says into the page's address, from where {@link takeAddress} takes it after a reload. */
  keepInAddress(): void {
    const settings = this.#host.current();
    if (settings.prompt) history.replaceState(history.state, "", `#${writeHash(settings)}`);
  }

  /** Fills in what can be used of found settings, and says what could not. */
  restore(found: FoundSettings, source: Restored["source"]): void {
    const isModelHere = found.model === undefined || this.#host.chooseNamed(found.model);
    const { settings, changed, refused } = checkSettings(found, { canUpscale: this.#host.canUpscale() });
    this.#host.fillIn(settings);
    const isKept = (name: SettingName) => ![undefined, "", false].includes(settings[name] as string) && !changed.includes(name);
    this.#host.tell({
      kind: "restored",
      source,
      kept: SETTING_NAMES.filter(isKept),
      changed,
      refused,
      otherModel: isModelHere ? null : (found.model ?? "").slice(0, MAX_NAME_CHARACTERS),
      others: found.others ?? [],
    });
  }

  /** Copies a link that fills in `found`, or else what the form says now. */
  async copyLink(found: FoundSettings = this.#host.current()): Promise<void> {
    const url = new URL(location.href);
    url.hash = writeHash(found);
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(url.href);
    } catch {
      isCopied = false; // not allowed, or a plain http page: the note shows the link
    }
    this.#host.tell({ kind: "link", url: url.href, isCopied });
  }
}
