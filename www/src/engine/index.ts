/** The engine's public face: everything a page imports from `fraise`. */
export { Engine, Step } from "./client";
export type { EngineOptions, GenerateOptions, LoadOptions } from "./client";
export { FraiseError, isAbortError } from "./errors";
export type { ErrorCode, ErrorDetails } from "./errors";
export type {
  DeviceChoice,
  DeviceInfo,
  EffectiveRequest,
  GenerateRequest,
  MemoryReport,
  PackInfo,
  Picture,
  Progress,
  PromptSyntax,
  Truncated,
} from "./protocol";
