/** The `fraise` package: the engine and the element's class. Importing it starts nothing and registers nothing. */
export * from "./engine/index";
export { FraisePainter } from "./painter";
export type { PictureCheck, PromptFilter } from "./painter/rules";
