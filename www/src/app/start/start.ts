/** The picture that painting starts from: a photo, a drawing, or one that was painted before. */
import { isTooLargeToDecode } from "../../engine/decode";
import { Refusal } from "../exchange/refusal";
import type { Note } from "../note";
import { problemOf } from "../note";
import { Camera } from "./camera";
import { Easel } from "./easel";

/** What painting starts from; without a picture it starts from noise alone. */
export interface StartState {
  readonly easel: Easel | null;
  /** Whether a picture was laid on it, which {@link Start.checkMark} can look at. */
  readonly hasSource: boolean;
  /** The kept picture that lies on it, at most one. */
  readonly parents: readonly string[];
  /** Counts the changes on the easel, so that whoever shows it knows. */
  readonly version: number;
  /** How much of the picture is painted anew, from 0 (nothing) to 1 (all of it). */
  readonly strength: number;
  /** Whether the camera is on; its pictures come onto the easel one after the other. */
  readonly isCamera: boolean;
  /** How many of them are painted in a second, or null where that is not known yet. */
  readonly rate: number | null;
}

/** What a request says of it. */
export interface StartRequest {
  readonly image: ImageData;
  readonly mask?: ImageData;
  readonly strength: number;
}

/** What a start needs of the studio. */
export interface StartHost {
  show(start: StartState): void;
  /** The size of the pictures asked for, in pixels. */
  size(): { readonly width: number; readonly height: number };
  /** Something came into view or changed that live painting should follow. */
  changed(): void;
  /** Lets the picture follow what comes onto the easel, or no longer. */
  setLive(isLive: boolean): void;
  /** Whether a picture carries the mark of those made here. */
  isMarked(picture: Blob): Promise<boolean>;
  tell(note: Note): void;
}

/** Nothing to start from. */
export function initialStart(): StartState {
  return { easel: null, hasSource: false, parents: [], version: 0, strength: 0.6, isCamera: false, rate: null };
}

/** The start's actions. None rejects. */
export class Start {
  readonly #host: StartHost;
  #state = initialStart();
  #camera: Camera | null = null;
  /** The picture that was laid on the easel. */
  #source: Blob | null = null;

  constructor(host: StartHost) {
    this.#host = host;
  }

  /** Starts from a picture: a file that the visitor gave, or a picture painted here. */
  async from(picture: Blob, parents: readonly string[] = []): Promise<void> {
    try {
      if (await isTooLargeToDecode(picture)) throw new Refusal("tooLarge");
      const image = await createImageBitmap(picture).catch(() => Promise.reject(new Refusal("notPng")));
      const easel = this.#newEasel();
      easel.lay(image);
      image.close();
      this.#source = picture;
      this.#set({ easel, parents, hasSource: true });
    } catch (error) {
      this.#host.tell({ kind: "unreadable", problem: problemOf(error) });
    }
  }

  /** Starts from an empty sheet to draw on. */
  draw(): void {
    this.#set({ easel: this.#newEasel(), hasSource: false, parents: [] });
  }

  /** Starts from what the camera sees, again and again. */
  async useCamera(): Promise<void> {
    try {
      this.#camera ??= await Camera.open();
      this.#set({ easel: this.#newEasel(), hasSource: false, parents: [], isCamera: true, rate: null });
      this.#host.setLive(true);
    } catch (error) {
      this.#host.tell({ kind: "cameraFailed", problem: problemOf(error) });
    }
  }

  /** Lays what the camera sees now onto the easel, where it is on. */
  async refresh(): Promise<void> {
    const { easel } = this.#state;
    if (!this.#camera || !easel) return;
    const image = await this.#camera.frame();
    easel.lay(image);
    image.close();
    this.#show({});
  }

  /** A live picture is done; whether another shall follow at once. */
  painted(): boolean {
    if (!this.#camera) return false;
    this.#show({ rate: this.#camera.painted() });
    return true;
  }

  /** Switches the camera off; its last picture stays. */
  closeCamera(): void {
    if (!this.#camera) return;
    this.#camera.close();
    this.#camera = null;
    this.#show({ isCamera: false, rate: null });
  }

  /** Starts from noise alone again. */
  drop(): void {
    if (this.#camera) this.#host.setLive(false);
    this.closeCamera();
    this.#set({ easel: null, hasSource: false, parents: [] });
  }

  /** Tells whether the picture that was laid on the easel carries the mark of pictures made here. */
  async checkMark(): Promise<void> {
    if (!this.#source) return;
    try {
      this.#host.tell({ kind: (await this.#host.isMarked(this.#source)) ? "marked" : "unmarked" });
    } catch (error) {
      this.#host.tell({ kind: "unreadable", problem: problemOf(error) });
    }
  }

  /** How much is painted anew. */
  setStrength(strength: number): void {
    this.#set({ strength });
  }

  /** Something was done on the easel. */
  touched(): void {
    this.#set({});
  }

  /** What a request says of it; nothing where painting starts from noise. */
  request(): Partial<StartRequest> {
    const { easel, strength } = this.#state;
    if (!easel) return {};
    const mask = easel.mask();
    return { image: easel.picture(), ...(mask ? { mask } : {}), strength };
  }

  #newEasel(): Easel {
    const { width, height } = this.#host.size();
    return new Easel(width, height);
  }

  #set(changes: Partial<StartState>): void {
    this.#show(changes);
    this.#host.changed();
  }

  #show(changes: Partial<StartState>): void {
    this.#state = { ...this.#state, ...changes, version: this.#state.version + 1 };
    this.#host.show(this.#state);
  }
}
