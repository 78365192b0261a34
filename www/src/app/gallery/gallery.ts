/** The gallery as the studio shows it: what is kept, what is looked at, and what is done with it. */
import type { FoundSettings } from "../exchange/found";
import { Refusal } from "../exchange/refusal";
import { problemOf, type Failure, type Note } from "../note";
import { openArchive, packArchive } from "./archive";
import { GalleryDatabase, type KeptPicture, type Known } from "./database";
import { toKept } from "./picture";

const KEEP_KEY = "fraise.keep";

/** A picture that is looked at. */
export interface Opened {
  readonly picture: KeptPicture;
  readonly png: Blob;
}

/** What the gallery shows. */
export interface GalleryState {
  /** Newest first; null until they are read, `unavailable` where this browser keeps none. */
  readonly pictures: readonly KeptPicture[] | "unavailable" | null;
  /** Whether finished pictures are kept. */
  readonly isKeeping: boolean;
  /** Words that a picture's prompt has to contain to be shown. */
  readonly query: string;
  readonly areFavouritesOnly: boolean;
  readonly opened: Opened | null;
  /** The first picture of a comparison whose second one is still to be chosen. */
  readonly comparison: Opened | null;
  /** Both pictures of a comparison. */
  readonly compared: readonly [Opened, Opened] | null;
  /** A zip on its way out or in. */
  readonly work: { readonly kind: "exporting" | "importing"; readonly done: number; readonly total: number } | null;
}

/** What the gallery shows before it is opened. */
export function initialGallery(): GalleryState {
  return {
    pictures: null,
    isKeeping: remembersKeeping(),
    query: "",
    areFavouritesOnly: false,
    opened: null,
    comparison: null,
    compared: null,
    work: null,
  };
}

/** The kept pictures that are wanted: those with all words of the query in their prompt, and only favourites where so wished. */
export function wantedPictures({ pictures, query, areFavouritesOnly }: GalleryState): readonly KeptPicture[] {
  if (pictures === null || pictures === "unavailable") return [];
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return pictures.filter(({ settings, isFavourite }) => {
    const prompt = (settings.prompt ?? "").toLowerCase();
    return (isFavourite || !areFavouritesOnly) && words.every((word) => prompt.includes(word));
  });
}

/** What the gallery needs of the studio. */
export interface GalleryHost {
  /** What is shown now. */
  state(): GalleryState;
  /** Whether files that go out say nothing of how they were made. */
  areFilesBare(): boolean;
  /** Shows what changed. */
  show(changes: Partial<GalleryState>): void;
  /** Tells the visitor; null: nothing any more. */
  tell(note: Note | null): void;
  /** Fills in a picture's settings. */
  restore(settings: FoundSettings): void;
}

/** The gallery's actions. None rejects: how it ended is shown. */
export class Gallery {
  readonly #host: GalleryHost;
  readonly #database = new GalleryDatabase();
  /** The picture removed last, in memory only. */
  #removed: Opened | null = null;

  constructor(host: GalleryHost) {
    this.#host = host;
  }

  /** Reads what is kept. */
  async open(): Promise<void> {
    try {
      this.#showPictures(await this.#database.list());
    } catch {
      this.#host.show({ pictures: "unavailable" });
    }
  }

  /** Keeps a finished picture, where the visitor wants that. */
  async keep(png: Blob, known: Known): Promise<void> {
    if (!this.#state.isKeeping || this.#state.pictures === "unavailable") return;
    await this.#during("notKept", async () => {
      await this.#add(await toKept(png, known), png);
    });
  }

  /** Keeps finished pictures from now on, or no longer; those that are kept stay. */
  setKeeping(isKeeping: boolean): void {
    this.#host.show({ isKeeping });
    try {
      localStorage.setItem(KEEP_KEY, isKeeping ? "on" : "off");
    } catch {
      // Storage may be off; the choice then lasts for this visit.
    }
  }

  /** Shows only pictures that the words and the switch are about. */
  search(changes: Partial<Pick<GalleryState, "query" | "areFavouritesOnly">>): void {
    this.#host.show(changes);
  }

  /** Looks at a picture; or, where one waits for its counterpart, compares the two. */
  async look(picture: KeptPicture): Promise<void> {
    const { comparison } = this.#state;
    this.#host.tell(null);
    await this.#during("galleryFailed", async () => {
      const opened = await this.#load(picture);
      if (comparison && comparison.picture.id !== picture.id) {
        this.#host.show({ comparison: null, compared: [comparison, opened], opened: null });
      } else this.#host.show({ opened });
    });
  }

  /** Stops looking. */
  close(): void {
    this.#host.show({ opened: null, compared: null });
  }

  /** Remembers the picture that is looked at, to compare it with the next one that is chosen. */
  startComparison(): void {
    this.#host.show({ comparison: this.#state.opened, opened: null });
  }

  /** Compares no longer. */
  endComparison(): void {
    this.#host.show({ comparison: null });
  }

  /** Looks at the picture before or after the one that is looked at, among those that are shown. */
  async step(by: 1 | -1): Promise<void> {
    const pictures = wantedPictures(this.#state);
    const at = pictures.findIndex(({ id }) => id === this.#state.opened?.picture.id);
    const next = at < 0 ? undefined : pictures[at + by];
    if (next) await this.look(next);
  }

  /** Marks a picture as a favourite, or no longer. */
  async toggleFavourite(picture: KeptPicture): Promise<void> {
    await this.#during("galleryFailed", async () => {
      const changed = { ...picture, isFavourite: !picture.isFavourite };
      await this.#database.update(changed);
      this.#showPictures(this.#pictures.map((other) => (other.id === changed.id ? changed : other)));
      const { opened } = this.#state;
      if (opened?.picture.id === changed.id) this.#host.show({ opened: { ...opened, picture: changed } });
    });
  }

  /** Fills in the settings of a picture. Paints nothing. */
  use({ settings }: KeptPicture): void {
    this.close();
    this.#host.restore(settings);
  }

  /** Removes a picture; {@link undo} brings it back until the next one is removed. */
  async remove(picture: KeptPicture): Promise<void> {
    await this.#during("galleryFailed", async () => {
      const { png } = await this.#load(picture);
      // Copied, since the browser may let go of what its storage no longer holds.
      this.#removed = { picture, png: new Blob([await png.arrayBuffer()], { type: png.type }) };
      await this.#database.remove(picture.id);
      const isIt = (opened: Opened | null) => opened?.picture.id === picture.id;
      const { opened, comparison } = this.#state;
      this.#host.show({ opened: isIt(opened) ? null : opened, comparison: isIt(comparison) ? null : comparison });
      this.#showPictures(this.#pictures.filter(({ id }) => id !== picture.id));
      this.#host.tell({ kind: "removed" });
    });
  }

  /** Brings the picture back that was removed last. */
  async undo(): Promise<void> {
    const removed = this.#removed;
    if (!removed) return;
    await this.#during("galleryFailed", async () => {
      await this.#add(removed.picture, removed.png);
      this.#removed = null;
      this.#host.tell({ kind: "broughtBack" });
    });
  }

  /** Removes all pictures, for good. */
  async removeAll(): Promise<void> {
    await this.#during("galleryFailed", async () => {
      await this.#database.clear();
      this.#removed = null;
      this.#host.show({ opened: null, comparison: null, compared: null });
      this.#showPictures([]);
      this.#host.tell({ kind: "removedAll" });
    });
  }

  /** All pictures as a zip, or null where that failed. */
  async exportAll(): Promise<Blob | null> {
    let zip: Blob | null = null;
    const pictures = this.#pictures;
    await this.#during("exportFailed", async () => {
      const onProgress = (done: number) => this.#host.show({ work: { kind: "exporting", done, total: pictures.length } });
      const isBare = this.#host.areFilesBare();
      zip = await packArchive(pictures, (id) => this.#database.file(id), { isBare, onProgress });
    });
    this.#host.show({ work: null });
    return zip;
  }

  /** Takes the pictures of a zip that are not here yet. */
  async importAll(zip: File): Promise<void> {
    if (this.#state.work !== null) return;
    this.#host.show({ work: { kind: "importing", done: 0, total: 0 } });
    await this.#during("importFailed", async () => {
      const { pictures } = await openArchive(zip);
      const here = new Set(this.#pictures.map(({ id }) => id));
      const counts = { added: 0, known: 0, refused: 0 };
      for (const [at, { known, read }] of pictures.entries()) {
        this.#host.show({ work: { kind: "importing", done: at, total: pictures.length } });
        if (known.id !== undefined && here.has(known.id)) counts.known += 1;
        else if (await this.#take(read, known)) counts.added += 1;
        else counts.refused += 1;
        if (known.id !== undefined) here.add(known.id);
      }
      this.#host.tell({ kind: "imported", ...counts });
    });
    this.#host.show({ work: null });
  }

  get #state(): GalleryState {
    return this.#host.state();
  }

  get #pictures(): readonly KeptPicture[] {
    const { pictures } = this.#state;
    return pictures === "unavailable" ? [] : (pictures ?? []);
  }

  async #load(picture: KeptPicture): Promise<Opened> {
    const png = await this.#database.file(picture.id);
    if (!png) throw new Error(`the picture ${picture.id} is gone; another tab may have removed it`);
    return { picture, png };
  }

  async #add(picture: KeptPicture, png: Blob): Promise<void> {
    await this.#database.add(picture, png);
    this.#showPictures([...this.#pictures, picture]);
  }

  /** Keeps one picture of a zip; false where it is none that can be shown. */
  async #take(read: () => Promise<Blob>, known: Known): Promise<boolean> {
    try {
      const png = await read();
      await this.#add(await toKept(png, known), png);
      return true;
    } catch (error) {
      if (error instanceof Refusal) return false;
      throw error;
    }
  }

  #showPictures(pictures: readonly KeptPicture[]): void {
    this.#host.show({ pictures: pictures.toSorted((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1)) });
  }

  async #during(kind: Failure["kind"], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#host.tell({ kind, problem: problemOf(error) });
    }
  }
}

function remembersKeeping(): boolean {
  try {
    return localStorage.getItem(KEEP_KEY) !== "off";
  } catch {
    return true; // Storage may be off.
  }
}
