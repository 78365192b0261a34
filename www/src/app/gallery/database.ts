/** The pictures kept in this browser: IndexedDB, apart from the engine's own database. */
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { FoundSettings } from "../exchange/found";

const NAME = "fraise-gallery";
const VERSION = 1;

/** All of a kept picture but the picture. */
export interface KeptPicture {
  /** 32 hexadecimal digits, drawn at random. */
  readonly id: string;
  /** When it was painted, in milliseconds since 1970. */
  readonly timeMs: number;
  readonly isFavourite: boolean;
  /** The pictures that it came from, one or two; absent where it came from words alone. */
  readonly parents?: readonly string[];
  /** As its PNG says; empty where it says nothing. */
  readonly settings: FoundSettings;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Size of the PNG. */
  readonly bytes: number;
  readonly thumbnail: Blob;
}

/** What may be known of a picture besides its PNG, as from a zip's index. */
export type Known = Partial<Pick<KeptPicture, "id" | "timeMs" | "isFavourite" | "parents">>;

/** The PNGs are apart, so that a list of thousands is read without them. */
interface Schema extends DBSchema {
  pictures: { key: string; value: KeptPicture };
  files: { key: string; value: Blob };
}

/** The kept pictures. Methods reject with the browser's own errors, `QuotaExceededError` among them. */
export class GalleryDatabase {
  readonly #opening: Promise<IDBPDatabase<Schema>>;

  constructor() {
    this.#opening = openDB<Schema>(NAME, VERSION, {
      upgrade: (database) => {
        database.createObjectStore("pictures", { keyPath: "id" });
        database.createObjectStore("files");
      },
    });
    this.#opening.catch(() => undefined); // whoever uses it hears of it
  }

  /** All pictures, in no order. */
  async list(): Promise<KeptPicture[]> {
    return (await this.#opening).getAll("pictures");
  }

  /** The PNG of a picture. */
  async file(id: string): Promise<Blob | undefined> {
    return (await this.#opening).get("files", id);
  }

  /** Keeps a picture and its PNG: both, or neither. */
  async add(picture: KeptPicture, png: Blob): Promise<void> {
    const transaction = (await this.#opening).transaction(["pictures", "files"], "readwrite");
    try {
      await Promise.all([
        transaction.objectStore("pictures").put(picture),
        transaction.objectStore("files").put(png, picture.id),
        transaction.done,
      ]);
    } catch (error) {
      throw transaction.error ?? error; // the requests themselves say only that they were aborted
    }
  }

  /** Keeps what changed of a picture. */
  async update(picture: KeptPicture): Promise<void> {
    await (await this.#opening).put("pictures", picture);
  }

  /** Removes a picture. */
  async remove(id: string): Promise<void> {
    const transaction = (await this.#opening).transaction(["pictures", "files"], "readwrite");
    await Promise.all([transaction.objectStore("pictures").delete(id), transaction.objectStore("files").delete(id), transaction.done]);
  }

  /** Removes all pictures. */
  async clear(): Promise<void> {
    const transaction = (await this.#opening).transaction(["pictures", "files"], "readwrite");
    await Promise.all([transaction.objectStore("pictures").clear(), transaction.objectStore("files").clear(), transaction.done]);
  }
}
