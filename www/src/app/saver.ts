/** Saves what was painted as files, with the settings that made it or, where the visitor wishes that, without. */
import { withoutSettings } from "./exchange/png";
import { remember, remembered } from "./local-storage";
import { save } from "./save";

const BARE_KEY = "fraise.bare";

/** Whether saved files are bare, as chosen last. */
export function remembersBareFiles(): boolean {
  return remembered(BARE_KEY) === true;
}

/** What a saver needs of the studio. */
export interface SaverHost {
  isBare(): boolean;
  show(areFilesBare: boolean): void;
}

/** A picture to be saved. */
export interface Saved {
  /** By which the gallery knows it. */
  readonly id: string;
  readonly seed?: string | undefined;
}

/** Gives files to the visitor. What marks them as made by AI is in every one of them. */
export class Saver {
  readonly #host: SaverHost;

  constructor(host: SaverHost) {
    this.#host = host;
  }

  /** Leaves words and settings out of saved files from now on, or no longer. */
  setBare(areFilesBare: boolean): void {
    this.#host.show(areFilesBare);
    remember(BARE_KEY, areFilesBare);
  }

  /** Saves a PNG. */
  async savePng(png: Blob, saved: Saved): Promise<void> {
    save(this.#host.isBare() ? await withoutSettings(png) : png, `${this.nameOf(saved)}.png`);
  }

  /** A file's name without its ending: the seed is one of the settings. */
  nameOf({ id, seed }: Saved): string {
    return `fraise-${this.#host.isBare() || seed === undefined ? id.slice(0, 8) : seed}`;
  }
}
