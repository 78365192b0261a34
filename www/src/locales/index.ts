/** The page's words, by language. A language is complete or does not compile. */
import { en } from "./en";
import { zh } from "./zh";

/** Every text of the page; `en` is the one the others are checked against. */
export type Words = typeof en;

const LOCALES = { en, zh } satisfies Record<string, Words>;

/** A language of the page. */
export type Language = keyof typeof LOCALES;

/** The languages, each by its own name. */
export const LANGUAGES: ReadonlyArray<{ readonly language: Language; readonly name: string; readonly tag: string }> = [
  { language: "en", name: "English", tag: "en" },
  { language: "zh", name: "简体中文", tag: "zh-Hans" },
];

/** The words of a language. */
export function wordsOf(language: Language): Words {
  return LOCALES[language];
}

/** The first of the visitor's languages that the page speaks, or English. */
export function preferredLanguage(languages: readonly string[]): Language {
  const known = languages.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag !== undefined && tag in LOCALES);
  return (known as Language | undefined) ?? "en";
}
