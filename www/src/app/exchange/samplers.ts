/** Samplers by the names of this engine and of others. */

/** The engine's samplers, and what people call them. */
export const SAMPLERS = {
  ddim: "DDIM",
  pndm: "PNDM (PLMS)",
  euler: "Euler",
  euler_a: "Euler a",
  heun: "Heun",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_2m_karras: "DPM++ 2M Karras",
  dpmpp_sde: "DPM++ 2M SDE",
  lcm: "LCM",
  tcd: "TCD",
  flow_euler: "Flow Euler",
} as const;

/** Name of a sampler of this engine. */
export type SamplerName = keyof typeof SAMPLERS;

/** Whether `name` is one of this engine's samplers. */
export function isSampler(name: string): name is SamplerName {
  return Object.hasOwn(SAMPLERS, name);
}

/** AUTOMATIC1111's and ComfyUI's names in lower case. "DPM++ SDE" without 2M is another method, which is not here. */
const FOREIGN = new Map<string, SamplerName>([
  ["ddim", "ddim"],
  ["plms", "pndm"],
  ["euler", "euler"],
  ["euler a", "euler_a"],
  ["euler_ancestral", "euler_a"],
  ["heun", "heun"],
  ["dpm++ 2m", "dpmpp_2m"],
  ["dpmpp_2m", "dpmpp_2m"],
  ["dpm++ 2m sde", "dpmpp_sde"],
  ["dpmpp_2m_sde", "dpmpp_sde"],
  ["lcm", "lcm"],
  ["tcd", "tcd"],
]);
/** What leaves the spacing of the steps to the sampler. */
const PLAIN_SCHEDULES = ["", "automatic", "normal", "uniform"];

/** Another program's sampler here: null where there is none; and whether its spacing of the steps is kept too. */
export function foreignSampler(name: string, schedule = ""): { sampler: SamplerName | null; isScheduleKept: boolean } {
  const isOldKarras = / karras$/i.test(name);
  const key = name.trim().toLowerCase().replace(/ karras$/, "");
  const spacing = isOldKarras ? "karras" : schedule.trim().toLowerCase();
  const sampler = FOREIGN.get(key) ?? (isSampler(key) ? key : null);
  // AUTOMATIC1111 leaves "DPM++ 2M" to Karras' spacing.
  const isKarras = spacing === "karras" || (key === "dpm++ 2m" && spacing === "automatic");
  if (sampler === "dpmpp_2m" && isKarras) return { sampler: "dpmpp_2m_karras", isScheduleKept: true };
  return { sampler, isScheduleKept: PLAIN_SCHEDULES.includes(spacing) };
}
