/** Which of a model's words the visitor may be typing. Plain functions of the text and the caret. */
import type { Kind, Vocabulary, Word } from "./vocabulary";

/** A word to put in the place of what was typed of it. */
export interface Suggestion {
  readonly word: Word;
  readonly text: string;
  /** Where what it replaces begins; it ends at the caret. */
  readonly start: number;
}

const MAX_SUGGESTIONS = 8;
/** So many letters of an English word are wanted before anything is offered. */
const MIN_LETTERS = 2;
/** Longest run of Chinese characters, and most words of English, that are looked at before the caret. */
const MAX_CHARACTERS = 8;
const MAX_WORDS_BACK = 5;

/** The best suggestions for the text before the caret, those of one kind together. */
export function suggest(vocabulary: Vocabulary, text: string, caret: number): Suggestion[] {
  const before = text.slice(0, caret);
  if (isLetter(before.at(-1)) && isLetter(text.at(caret)) && !isHan(before.at(-1))) return []; // inside a word
  const starts = possibleStarts(before);
  const ranked = vocabulary.flatMap((word) => best(word, before, starts, vocabulary) ?? []);
  ranked.sort((a, b) => a.rank - b.rank || a.start - b.start || a.text.length - b.text.length);
  const top = ranked.slice(0, MAX_SUGGESTIONS);
  const kinds = [...new Set(top.map(({ word }) => word.kind))];
  return kinds.flatMap((kind) => top.filter(({ word }) => word.kind === kind)).map(({ word, text, start }) => ({ word, text, start }));
}

/** `text` with the suggestion in it, and where the caret stands then. */
export function complete(text: string, caret: number, { text: form, start }: Suggestion): { text: string; caret: number } {
  return { text: text.slice(0, start) + form + text.slice(caret), caret: start + form.length };
}

/** Where a word that ends at the caret may begin, earliest first. */
function possibleStarts(before: string): number[] {
  const han = /\p{Script=Han}*$/u.exec(before)?.[0] ?? "";
  if (han) {
    const length = Math.min(han.length, MAX_CHARACTERS);
    return Array.from({ length }, (_, back) => before.length - length + back);
  }
  const clause = /[\p{L}\p{N}' -]*$/u.exec(before)?.[0] ?? "";
  const starts = [...clause.matchAll(/[^ ]+/g)].map(({ index }) => before.length - clause.length + index);
  return starts.slice(-MAX_WORDS_BACK).filter((start) => before.length - start >= MIN_LETTERS);
}

type Ranked = Suggestion & { readonly rank: number };

/** The form that continues most of what was typed; else one that holds the typed word further in. */
function best(word: Word, before: string, starts: readonly number[], vocabulary: Vocabulary): Ranked | null {
  const forms = [...word.forms.en, ...word.forms.zh];
  const typed = before.toLowerCase();
  for (const start of starts) {
    const text = forms.find((form) => continues(form.toLowerCase(), typed.slice(start)));
    if (text !== undefined) return { word, text, start, rank: 0 };
  }
  const last = starts.at(-1);
  const part = last === undefined ? "" : typed.slice(last);
  const text = part.trim() && forms.find((form) => form.toLowerCase().split(" ").slice(1).some((inner) => continues(inner, part)));
  return text ? { word, text, start: beforeLead(before, last ?? 0, leadsOf(vocabulary, word.kind)), rank: 1 } : null;
}

function continues(form: string, typed: string): boolean {
  return form.length > typed.length && form.startsWith(typed);
}

/** Where the small words before `start` begin that the suggestion brings itself: `in a` of `in a for|est`. */
function beforeLead(before: string, start: number, leads: ReadonlySet<string>): number {
  const lead = /([\p{L}]+) +$/u.exec(before.slice(0, start));
  return lead && leads.has(lead[1]?.toLowerCase() ?? "") ? beforeLead(before, lead.index, leads) : start;
}

/** By kind, the words that lead into several words of that kind: `in`, `the`, `a` of places. */
const knownLeads = new WeakMap<Vocabulary, Map<Kind, ReadonlySet<string>>>();

function leadsOf(vocabulary: Vocabulary, kind: Kind): ReadonlySet<string> {
  const known = knownLeads.get(vocabulary) ?? new Map<Kind, ReadonlySet<string>>();
  knownLeads.set(vocabulary, known);
  const leads = known.get(kind) ?? findLeads(vocabulary, kind);
  known.set(kind, leads);
  return leads;
}

function findLeads(vocabulary: Vocabulary, kind: Kind): ReadonlySet<string> {
  const seen = new Set<string>();
  const leads = new Set<string>();
  for (const { forms } of vocabulary.filter((word) => word.kind === kind)) {
    const own = new Set(forms.en.flatMap((form) => form.toLowerCase().split(" ").slice(0, -1)));
    for (const lead of own) (seen.has(lead) ? leads : seen).add(lead);
  }
  return leads;
}

function isLetter(character: string | undefined): boolean {
  return character !== undefined && /[\p{L}\p{N}]/u.test(character);
}

function isHan(character: string | undefined): boolean {
  return character !== undefined && /\p{Script=Han}/u.test(character);
}
