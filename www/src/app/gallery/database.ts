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

/** A file's bytes, since WebKit stores no Blobs in private windows; what was stored before is a Blob. */
type StoredFile = { readonly type: string; readonly bytes: ArrayBuffer } | Blob;

/** The PNGs are apart, so that a list of thousands is read without them. */
interface Schema extends DBSchema {
  pictures: { key: string; value: Omit<KeptPicture, "thumbnail"> & { readonly thumbnail: StoredFile } };
  files: { key: string; value: StoredFile };
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
    const pictures = await (await this.#opening).getAll("pictures");
    return pictures.map((picture) => ({ ...picture, thumbnail: toBlob(picture.thumbnail) }));
  }

  /** The PNG of a picture. */
  async file(id: string): Promise<Blob | undefined> {
    const file = await (await this.#opening).get("files", id);
    return file && toBlob(file);
  }

  /** Keeps a picture and its PNG: both, or neither. */
  async add(picture: KeptPicture, png: Blob): Promise<void> {
    const [thumbnail, file] = await Promise.all([toStored(picture.thumbnail), toStored(png)]);
    const transaction = (await this.#opening).transaction(["pictures", "files"], "readwrite");
    try {
      await Promise.all([
        transaction.objectStore("pictures").put({ ...picture, thumbnail }),
        transaction.objectStore("files").put(file, picture.id),
        transaction.done,
      ]);
    } catch (error) {
      throw transaction.error ?? error; // the requests themselves say only that they were aborted
    }
  }

  /** Keeps what changed of a picture. */
  async update(picture: KeptPicture): Promise<void> {
    const thumbnail = await toStored(picture.thumbnail);
    await (await this.#opening).put("pictures", { ...picture, thumbnail });
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

async function toStored(file: Blob): Promise<StoredFile> {
  return { type: file.type, bytes: await file.arrayBuffer() };
}

function toBlob(stored: StoredFile): Blob {
  return stored instanceof Blob ? stored : new Blob([stored.bytes], { type: stored.type });
}
