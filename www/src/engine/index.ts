/** The engine's public face: everything a page imports from `fraise`. */
export { Engine } from "./client";
export type { ConvertOptions, EngineOptions, GenerateOptions, LoadOptions } from "./client";
export type { DeviceChoice, DeviceInfo, Measured, Precision, ProductVariant, TileCost, TileCosts } from "./device";
export { FraiseError, isAbortError } from "./errors";
export { Step } from "./step";
export type { ErrorCode, ErrorDetails } from "./errors";
export { MAX_BATCH } from "./protocol";
export type {
  CheckpointInfo,
  ConvertedModel,
  EffectiveRequest,
  GenerateRequest,
  LoadedPack,
  MemoryReport,
  BatchPicture,
  Noise,
  PackInfo,
  PackRequirements,
  Picture,
  PictureSource,
  Prediction,
  Progress,
  PromptSyntax,
  Quant,
  StoredModel,
  Truncated,
  UnfinishedConversion,
  Variation,
} from "./protocol";
