/** The same inputs for every engine: `side` is that of square latents, `facts` are make_peer.py's. */
export function inputsOf(module, side, facts) {
  const latents = tensor(1, [1, facts.latent_channels, side, side]);
  switch (module) {
    case "text_encoder":
      return { prompt: facts.prompt, ids: facts.ids };
    case "unet":
      return { sample: latents, timestep: 500, context: tensor(2, [1, facts.ids.length, facts.context_width]) };
    case "vae_decoder":
      return { latents };
  }
  throw new Error(`there is no module ${module}`);
}

/** Standard normal numbers, by mulberry32 and Box and Muller. */
function tensor(seed, shape) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 1) / 2 ** 32; // in (0, 1]
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const count = shape.reduce((product, length) => product * length, 1);
  return { shape, data: Float32Array.from({ length: count }, normal) };
}
