/** The camera, whose pictures are painted over one after the other. They stay on this machine. */

/** Over how many pictures their rate is taken. */
const RATE_OVER = 5;

/** An open camera. */
export class Camera {
  readonly #video = document.createElement("video");
  readonly #stream: MediaStream;
  #painted: number[] = [];

  private constructor(stream: MediaStream) {
    this.#stream = stream;
    this.#video.srcObject = stream;
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  /** Asks the visitor for the camera. Rejects with the browser's `DOMException` where there is none or it is refused. */
  static async open(): Promise<Camera> {
    const { mediaDevices } = navigator as Partial<Navigator>;
    if (!mediaDevices) throw new DOMException("This page has no access to cameras; it needs https", "NotFoundError");
    const camera = new Camera(await mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false }));
    await camera.#video.play();
    return camera;
  }

  /** What it sees now. The caller closes the bitmap. */
  frame(): Promise<ImageBitmap> {
    return createImageBitmap(this.#video);
  }

  /** Another picture is done; how many there are in a second, or null where too few are done to say. */
  painted(): number | null {
    this.#painted = [...this.#painted, performance.now()].slice(-RATE_OVER);
    const [first, last] = [this.#painted[0], this.#painted.at(-1)];
    if (first === undefined || last === undefined || last === first) return null;
    return (this.#painted.length - 1) / ((last - first) / 1000);
  }

  /** Lets go of it. */
  close(): void {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#video.srcObject = null;
  }
}
