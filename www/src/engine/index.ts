/** The engine's public face: everything a page imports from `fraise`. */
export { Engine, Step } from "./client";
export type { ConvertOptions, EngineOptions, GenerateOptions, LoadOptions } from "./client";
export { FraiseError, isAbortError } from "./errors";
export type { ErrorCode, ErrorDetails } from "./errors";
export type {
  CheckpointInfo,
  ConvertedModel,
  DeviceChoice,
  DeviceInfo,
  EffectiveRequest,
  GenerateRequest,
  LoadedPack,
  MemoryReport,
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
