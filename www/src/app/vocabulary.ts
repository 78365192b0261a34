/** The words that a model knows, as data beside its pack: offered while typing, and as manners to choose from. */
import type { Language } from "../locales/index";

/** What a word stands for in a picture, in the order in which the page names them. */
export const KINDS = ["thing", "place", "colour", "manner", "size", "position", "relation", "hand", "count", "form"] as const;

/** One of {@link KINDS}. */
export type Kind = (typeof KINDS)[number];

/** A word and the ways of saying it. */
export interface Word {
  /** Letters, digits, `-` and `_`; part of a file name. */
  readonly id: string;
  readonly kind: Kind;
  /** By language, the usual way first; at least one in all. */
  readonly forms: Readonly<Record<Language, readonly string[]>>;
}

/** A model's words. */
export type Vocabulary = readonly Word[];

const MAX_BYTES = 2 ** 20;
const MAX_WORDS = 4000;
const MAX_FORMS = 16;
const MAX_FORM_LENGTH = 64;

/** Reads `words.json` beside the manifest at `url`; a model without one has no words. */
export async function fetchVocabulary(url: string): Promise<Vocabulary> {
  const response = await fetch(new URL("words.json", new URL(url, document.baseURI)));
  const file = response.ok ? await response.blob() : null;
  return file && file.size <= MAX_BYTES ? toVocabulary(JSON.parse(await file.text())) : [];
}

/** The words in a file; it is untrusted, so whatever is not of the right form is left out. */
export function toVocabulary(file: unknown): Vocabulary {
  const words: unknown = (file as { words?: unknown } | null)?.words;
  return Array.isArray(words) ? words.slice(0, MAX_WORDS).flatMap(toWord) : [];
}

function toWord(value: unknown): Word[] {
  const { id, kind, en, zh } = (value ?? {}) as Record<string, unknown>;
  const forms = { en: toForms(en), zh: toForms(zh) };
  if (typeof id !== "string" || !/^[\w-]{1,64}$/.test(id) || !isKind(kind)) return [];
  return forms.en.length + forms.zh.length > 0 ? [{ id, kind, forms }] : [];
}

function isKind(value: unknown): value is Kind {
  return (KINDS as readonly unknown[]).includes(value);
}

function toForms(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_FORMS).filter((form): form is string => {
    return typeof form === "string" && form.trim() !== "" && form.length <= MAX_FORM_LENGTH;
  });
}
