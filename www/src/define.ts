/** Registers `<fraise-painter>`; the one script that a page needs for it. */
import { FraisePainter } from "./painter";

export { FraisePainter };
if (!customElements.get("fraise-painter")) customElements.define("fraise-painter", FraisePainter);
