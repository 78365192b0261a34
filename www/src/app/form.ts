/** What the form's settings stand for: pure functions from the state to what the engine is asked. */
import type { GenerateRequest } from "../engine/index";
import { asText, type FoundSettings } from "./exchange/found";
import type { ModelCard } from "./model";
import { randomSeed } from "./random";
import type { Sides } from "./sides";
import { DEFAULT_VARIATION, parseSeed, type StudioState } from "./state";

/** Settings that a visitor changes by hand. */
export type Settings = Pick<
  StudioState,
  "prompt" | "negative" | "seed" | "variationSeed" | "variationStrength" | "steps" | "guidance" | "width" | "height" | "sampler" | "upscale" | "tiling" | "count"
>;

/** One model's are not another's. */
export const MODEL_SETTINGS = { steps: null, guidance: null, width: null, height: null, sampler: null, upscale: null };

/** The chosen model's description, where it is known. */
export function cardIn({ model }: StudioState): ModelCard | null {
  return model === "unreadable" ? null : model;
}

/** The steps that the loaded model recommends. */
export function recommendedSteps({ model }: StudioState): number {
  return model && model !== "unreadable" ? model.steps : 20;
}

/** Whether finished pictures are made larger: as the visitor or else the model says, where it can. */
export function upscales({ model, upscale }: StudioState): boolean {
  return model !== null && model !== "unreadable" && model.upscaleFactor !== null && (upscale ?? model.upscale);
}

/** A request that says which noise it starts from. */
export type SeededRequest = GenerateRequest & { readonly seed: number };

/** The request that settings stand for; a new seed where they name none. */
export function requestOf(settings: Partial<Settings>): SeededRequest {
  const { prompt = "", negative = "", seed = "", steps, guidance, width, height, sampler, tiling = false } = settings;
  const { variationSeed = "", variationStrength = DEFAULT_VARIATION } = settings;
  const towards = parseSeed(variationSeed);
  return {
    prompt: prompt.trim(),
    negative: negative.trim() || undefined,
    seed: parseSeed(seed) ?? randomSeed(),
    steps: steps ?? undefined,
    guidance: guidance ?? undefined,
    width: width ?? undefined,
    height: height ?? undefined,
    sampler: sampler ?? undefined,
    promptSyntax: "a1111",
    tiling,
    variation: towards === null ? undefined : { seed: towards, strength: variationStrength },
  };
}

/** One request for pictures whose requests differ in their noise and words alone. */
export function togetherOf(requests: readonly [SeededRequest, ...SeededRequest[]]): GenerateRequest {
  const [first, ...others] = requests;
  if (others.length === 0) return first;
  const { seed: _seed, variation: _variation, ...shared } = first;
  return { ...shared, batch: requests.map(({ seed, variation, prompt }) => ({ seed, variation, prompt })) };
}

/** The request that the form stands for, starting from noise. */
export function requestIn(state: StudioState): SeededRequest {
  return { ...requestOf(state), upscale: upscales(state) };
}

/** The size of the pictures asked for, in pixels. */
export function sizeIn(state: StudioState): Sides {
  const card = cardIn(state);
  return { width: state.width ?? card?.width ?? 512, height: state.height ?? card?.height ?? 512 };
}

/** What the form says, with the numbers that the model recommends where it says none. */
export function settingsIn(state: StudioState): FoundSettings {
  const { prompt, negative, seed, variationSeed, variationStrength, steps, guidance, width, height, sampler, upscale, tiling } = state;
  const card = cardIn(state);
  const isVaried = parseSeed(variationSeed) !== null;
  return {
    prompt: prompt.trim(),
    negative: negative.trim(),
    seed: seed.trim(),
    variationSeed: isVaried ? variationSeed.trim() : undefined,
    variationStrength: isVaried ? asText(variationStrength) : undefined,
    steps: String(steps ?? recommendedSteps(state)),
    guidance: asText(guidance ?? card?.guidance),
    width: asText(width),
    height: asText(height),
    sampler: sampler ?? undefined,
    upscale: asText(upscale),
    tiling: tiling ? "true" : undefined,
    model: card?.name,
  };
}
