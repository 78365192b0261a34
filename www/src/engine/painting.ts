/** What this browser's canvases can do in a worker. */

/** How long a browser that lost its devices may take to offer an adapter again. */
const RECOVERY_LIMIT_MS = 3000;
const RECOVERY_POLL_MS = 100;
/** A frame that takes longer than this is not waited for: hidden pages have none. */
const FRAME_LIMIT_MS = 50;

/**
 * Whether a canvas in this worker can be painted by the GPU itself.
 *
 * Not in Firefox, where reading such a canvas (a screenshot, "Save Image As…", `drawImage`) may end the whole browser:
 * the copy takes the id of a command buffer that was dropped a moment ago and overtakes the message about that, which
 * then finds nothing to drop ("Cannot remove a vacant resource"; seen in 153 ESR). Reading pixels back costs no more
 * there, since the end of a step has to be waited for in any case.
 *
 * Elsewhere real GPUs always can. Software adapters in a browser that composes without Vulkan cannot, and lose every
 * device of the process on the attempt, so they are tried with a throwaway device before the real one is opened.
 */
export async function canPaintFromGpu(): Promise<boolean> {
  if (navigator.userAgent.includes("Firefox/")) return false;
  const adapter = await requestAdapter();
  if (!adapter?.info.isFallbackAdapter) return true;
  const isAble = await survivesPainting(adapter);
  const limitMs = performance.now() + RECOVERY_LIMIT_MS;
  while (!isAble && !(await requestAdapter()) && performance.now() < limitMs) await sleep(RECOVERY_POLL_MS);
  return isAble;
}

async function survivesPainting(adapter: GPUAdapter): Promise<boolean> {
  try {
    const device = await adapter.requestDevice();
    const context = new OffscreenCanvas(1, 1).getContext("webgpu");
    if (!context) return false;
    context.configure({ device, format: navigator.gpu.getPreferredCanvasFormat() });
    const commands = device.createCommandEncoder();
    const view = context.getCurrentTexture().createView();
    commands.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] }).end();
    device.queue.submit([commands.finish()]);
    const survives = device.queue.onSubmittedWorkDone().then(() => true);
    const isAlive = await Promise.race([device.lost.then(() => false), survives]);
    if (isAlive) device.destroy();
    return isAlive;
  } catch {
    return false;
  }
}

async function requestAdapter(): Promise<GPUAdapter | null> {
  try {
    return (await navigator.gpu?.requestAdapter()) ?? null;
  } catch {
    return null;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until what was painted can be seen. Without it, a worker that computes without pause shows nothing. */
export function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, FRAME_LIMIT_MS);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      // A frame's callbacks run before it is shown.
      setTimeout(resolve, 0);
    });
  });
}
