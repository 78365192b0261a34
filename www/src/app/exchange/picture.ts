/** The settings that a PNG says it was made with, whoever made it. */
import { readComfyPrompt } from "./comfyui";
import { asFoundSettings, asText, shortened, type FoundSettings } from "./found";
import { readParameters } from "./parameters";
import { MAX_PNG_BYTES, readPng, type PngInfo } from "./png";
import { Refusal } from "./refusal";

/** Who wrote the settings down. */
export type Source = "fraise" | "a1111" | "comfyui";

/** A PNG that was looked into. */
export interface PictureFile {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Null where it says nothing that is understood. */
  readonly made: { readonly source: Source; readonly found: FoundSettings } | null;
}

/**
 * Looks into a file that should be a PNG.
 *
 * @throws Refusal as {@link readPng}.
 */
export async function readPicture(file: Blob): Promise<PictureFile> {
  if (file.size > MAX_PNG_BYTES) throw new Refusal("tooLarge");
  const { width, height, texts } = await readPng(new Uint8Array(await file.arrayBuffer()), ["fraise", "parameters", "prompt"]);
  return { width, height, made: madeWith(texts) };
}

/** The most exact of the texts that can be understood. */
function madeWith(texts: PngInfo["texts"]): PictureFile["made"] {
  const own = ownSettings(texts.get("fraise"));
  if (own) return { source: "fraise", found: own };
  const parameters = texts.get("parameters");
  if (parameters !== undefined) return { source: "a1111", found: readParameters(parameters) };
  const graph = texts.get("prompt");
  const found = graph === undefined ? null : readComfyPrompt(graph);
  return found && { source: "comfyui", found };
}

/** What the engine writes, `{request, model}`, and a `precision` that is not the usual. */
function ownSettings(json: string | undefined): FoundSettings | null {
  try {
    const { request, model, precision } = JSON.parse(json ?? "") as Partial<Record<"request" | "model" | "precision", unknown>>;
    const found = asFoundSettings({ ...(request as object), model });
    const strength = asText((request as { strength?: unknown } | undefined)?.strength);
    // The picture that it started from is not in the file, and how exactly it was computed is no setting of a picture.
    const others = [
      ...(strength === undefined ? [] : [`Denoising strength: ${strength}`]),
      ...(asText(precision) === undefined ? [] : [`Precision: ${asText(precision)}`]),
    ];
    if (found.prompt === undefined) return null;
    return others.length > 0 ? { ...found, others: shortened(others) } : found;
  } catch {
    return null;
  }
}
