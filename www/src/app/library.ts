/**
 * The converted models that this browser keeps, remembered beside the engine's storage so that the page can introduce them
 * before the engine runs. The engine's own records decide whether one can be loaded.
 */
import type { ConvertedModel } from "../engine/index";
import { remember, remembered } from "./local-storage";
import type { ModelCard } from "./model";
import { MODEL_URL, toModelCard } from "./model";

const LIBRARY_KEY = "fraise.models";
const CHOICE_KEY = "fraise.model";
const MAX_MODELS = 64;

/** A converted model and how to introduce it. */
export interface LocalModel {
  readonly address: string;
  readonly card: ModelCard;
}

/** The card of a model that was just converted. */
export function cardOf(model: ConvertedModel): ModelCard {
  return {
    name: model.name,
    license: model.license,
    licenseRestrictions: model.licenseRestrictions ?? "",
    totalBytes: model.totalBytes,
    steps: model.recommended.steps,
    guidance: model.recommended.guidance,
    negativePhrase: model.negativePhrase ?? "",
    upscale: model.recommended.upscale ?? false,
    upscaleFactor: model.upscaleFactor,
    canEncode: model.hasEncoder,
    hasScorer: model.hasScorer,
    width: model.recommended.width,
    height: model.recommended.height,
    examples: model.examples,
  };
}

/** The remembered models; what is not of the right form is left out. */
export function rememberedModels(): LocalModel[] {
  const entries = remembered(LIBRARY_KEY);
  if (!Array.isArray(entries)) return [];
  return entries.slice(0, MAX_MODELS).flatMap((entry: { address?: unknown; card?: Partial<ModelCard> }) => {
    if (typeof entry?.address !== "string" || !entry.address.startsWith("local:")) return [];
    const card = entry.card ?? {};
    const { totalBytes, steps, guidance, upscale, upscaleFactor, canEncode, hasScorer, width, height, licenseRestrictions, negativePhrase } = card;
    const manifest = {
      ...card,
      license_restrictions: licenseRestrictions,
      negative_phrase: negativePhrase,
      recommended: { steps, guidance, upscale, width, height },
      components: {
        all: { bytes: totalBytes },
        upscaler: { config: { upscale: upscaleFactor } },
        ...(canEncode === false ? {} : { vae_encoder: {} }), // unknown of older ones, of which nearly all can
        ...(hasScorer === true ? { scorer: {} } : {}),
      },
    };
    return [{ address: entry.address, card: toModelCard(manifest) }];
  });
}

/** Remembers the models in place of those remembered before. */
export function rememberModels(models: readonly LocalModel[]): void {
  remember(LIBRARY_KEY, models);
}

/** The model chosen last, if it is still remembered; else the default one. */
export function rememberedChoice(models: readonly LocalModel[]): string {
  const choice = remembered(CHOICE_KEY);
  return models.find(({ address }) => address === choice)?.address ?? MODEL_URL;
}

/** Remembers which model is chosen. */
export function rememberChoice(address: string): void {
  remember(CHOICE_KEY, address);
}
