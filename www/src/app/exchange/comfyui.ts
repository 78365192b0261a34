/** The graph that ComfyUI keeps as JSON in a PNG's `prompt`: nodes by number, whose inputs are values or links to others. */
import { asText, modelName, shortened, type FoundSettings } from "./found";
import { foreignSampler } from "./samplers";

const MAX_NODES = 5000;
/** Links followed from one input; graphs can be circular in a hostile file. */
const MAX_LINKS = 32;
/** Nodes that change the picture and have no counterpart here. */
const FOREIGN_NODE = /lora|control|ipadapter|upscale|loadimage|inpaint|hypernetwork|style|freeu/i;

interface Node {
  readonly type: string;
  readonly inputs: ReadonlyMap<string, unknown>;
}

type Graph = ReadonlyMap<string, Node>;

/** Settings of the graph's first sampler, or null where the text is no graph or has no sampler. */
export function readComfyPrompt(json: string): FoundSettings | null {
  const graph = graphIn(json);
  const samplers = [...graph.values()].filter(({ type }) => /^KSampler(Advanced)?$/.test(type));
  const sampler = samplers[0];
  if (!sampler) return null;
  const value = (input: string) => follow(graph, sampler, input, ["value", "seed", "noise_seed", "int", "float", "text"]);
  const latent = nodeBehind(graph, sampler, "latent_image", ["samples", "latent"], ({ type }) => type.startsWith("Empty"));
  const model = follow(graph, sampler, "model", ["ckpt_name", "unet_name", "model"]);
  const { sampler: name, others } = samplerIn(value("sampler_name"), value("scheduler"));
  const denoise = value("denoise");
  if (denoise !== undefined && Number(denoise) < 1) others.push(`denoise: ${denoise}`);
  if (samplers.length > 1) others.push(`KSampler: ${samplers.length}`);
  for (const { type } of graph.values()) if (FOREIGN_NODE.test(type)) others.push(type);
  return {
    prompt: promptBehind(graph, sampler, "positive"),
    negative: promptBehind(graph, sampler, "negative"),
    seed: value("seed") ?? value("noise_seed"),
    steps: value("steps"),
    guidance: value("cfg"),
    width: latent && follow(graph, latent, "width", ["value", "int"]),
    height: latent && follow(graph, latent, "height", ["value", "int"]),
    sampler: name,
    model: model === undefined ? undefined : modelName(model),
    others: shortened(others),
  };
}

function samplerIn(name: string | undefined, schedule: string | undefined): { sampler: string | undefined; others: string[] } {
  if (name === undefined) return { sampler: undefined, others: [] };
  const { sampler, isScheduleKept } = foreignSampler(name, schedule);
  if (sampler === null) return { sampler: undefined, others: [`sampler_name: ${name}`] };
  return { sampler, others: isScheduleKept ? [] : [`scheduler: ${schedule ?? ""}`] };
}

/** The words that condition the sampler from one side. */
function promptBehind(graph: Graph, sampler: Node, side: "positive" | "negative"): string | undefined {
  const isZero = ({ type }: Node) => type === "ConditioningZeroOut"; // no words, whatever leads to it
  if (nodeBehind(graph, sampler, side, ["conditioning", side], isZero)) return undefined;
  return follow(graph, sampler, side, ["text", "text_g", "string", "value", "conditioning", "conditioning_1", side]);
}

/** The value of a node's input: itself, or behind links, going on at the first of the `inputs` that a linked node has. */
function follow(graph: Graph, node: Node, input: string, inputs: readonly string[]): string | undefined {
  let value = node.inputs.get(input);
  for (let link = 0; link < MAX_LINKS; link += 1) {
    const next = linked(graph, value);
    if (!next) return asText(value);
    const key = inputs.find((name) => next.inputs.has(name));
    value = key === undefined ? undefined : next.inputs.get(key);
  }
  return undefined;
}

/** The first node behind a node's input that is wanted, going on at the first of the `inputs` that a linked node has. */
function nodeBehind(
  graph: Graph,
  node: Node,
  input: string,
  inputs: readonly string[],
  isWanted: (node: Node) => boolean,
): Node | undefined {
  let next = linked(graph, node.inputs.get(input));
  for (let link = 0; link < MAX_LINKS && next; link += 1) {
    if (isWanted(next)) return next;
    const { inputs: present }: Node = next;
    const key = inputs.find((name) => present.has(name));
    next = key === undefined ? undefined : linked(graph, present.get(key));
  }
  return undefined;
}

/** The node that an input `[number, output]` links to. */
function linked(graph: Graph, value: unknown): Node | undefined {
  return Array.isArray(value) ? graph.get(String(value[0])) : undefined;
}

function graphIn(json: string): Graph {
  let root: unknown;
  try {
    root = JSON.parse(json);
  } catch {
    return new Map();
  }
  return new Map(
    entriesOf(root)
      .slice(0, MAX_NODES)
      .map(([id, node]) => {
        const fields = new Map(entriesOf(node));
        return [id, { type: asText(fields.get("class_type")) ?? "", inputs: new Map(entriesOf(fields.get("inputs"))) }];
      }),
  );
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}
