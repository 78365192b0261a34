/** The manners that a prompt asks for. Plain functions of the prompt and the model's words. */
import type { Language } from "../locales/index";
import type { Vocabulary, Word } from "./vocabulary";

/** What stands between the things of a prompt. */
const SEPARATORS = ",，、;；:：";

/** The manners among a model's words. */
export function mannersOf(vocabulary: Vocabulary): Word[] {
  return vocabulary.filter(({ kind }) => kind === "manner");
}

/** The identities of the manners that the prompt asks for. */
export function mannersIn(prompt: string, manners: readonly Word[]): Set<string> {
  return new Set(findManners(prompt, manners).map(({ id }) => id));
}

/** The prompt without this manner where it has it, else with it at the end, in the prompt's language. */
export function toggleManner(prompt: string, manner: Word, manners: readonly Word[], pageLanguage: Language): string {
  const places = findManners(prompt, manners).filter(({ id }) => id === manner.id);
  if (places.length > 0) return places.reduceRight((text, { start, end }) => cutOut(text, start, end), prompt);
  const language = languageOf(prompt, pageLanguage);
  const form = manner.forms[language][0] ?? manner.forms.en[0] ?? manner.forms.zh[0] ?? "";
  const words = prompt.replace(new RegExp(`[\\s${SEPARATORS}]+$`, "u"), "");
  return words === "" ? form : `${words}${language === "zh" ? "，" : ", "}${form}`;
}

function languageOf(prompt: string, pageLanguage: Language): Language {
  if (/\p{Script=Han}/u.test(prompt)) return "zh";
  return /\p{L}/u.test(prompt) ? "en" : pageLanguage;
}

interface Place {
  readonly id: string;
  readonly start: number;
  readonly end: number;
}

/** Where manners stand in the prompt, first to last; of overlapping ones the longest. */
function findManners(prompt: string, manners: readonly Word[]): Place[] {
  const idOf = new Map(manners.flatMap(({ id, forms }) => [...forms.en, ...forms.zh].map((form) => [form.toLowerCase(), id] as const)));
  if (idOf.size === 0) return [];
  const longestFirst = [...idOf.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map(toPattern).join("|"), "giu");
  return [...prompt.matchAll(pattern)].map(({ 0: found, index }) => {
    return { id: idOf.get(found.toLowerCase()) ?? "", start: index, end: index + found.length };
  });
}

/** A pattern for a form: as a whole word where the script has words. */
function toPattern(form: string): string {
  const escaped = form.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return /\p{Script=Han}/u.test(form) ? escaped : `(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`;
}

/** The prompt without a part of it, nor what tied that part to the rest. */
function cutOut(prompt: string, start: number, end: number): string {
  const left = prompt.slice(0, start);
  const right = prompt.slice(end);
  if (left.trim() === "") return right.replace(new RegExp(`^\\s*(?:[${SEPARATORS}]|of\\b)?\\s*`, "iu"), "");
  const isLast = new RegExp(`^\\s*(?:[${SEPARATORS}]|$)`, "u").test(right);
  if (!isLast) return left + right.trimStart();
  return left.replace(new RegExp(`[\\s${SEPARATORS}]*(?:\\b(?:in|as)(?: an?)?)?\\s*$`, "iu"), "") + right;
}
