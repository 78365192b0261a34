// The page that the bench drives: starts workers by name, asks them, and compares what two of them answer.
const workers = new Map();

/** Starts `script` in a worker and waits until its `open(options)` is done. */
window.start = async (name, script, options) => {
  const worker = new Worker(`./${script}`, { type: "module" });
  const waiting = new Map();
  worker.onmessage = ({ data: { id, answer, error } }) => {
    // A question without an id is the worker's own failure, which ends all that is asked of it.
    for (const [asked, { resolve, reject }] of waiting) {
      if (id !== undefined && asked !== id) continue;
      waiting.delete(asked);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    }
  };
  worker.onerror = (event) => worker.onmessage({ data: { error: event.message ?? "the worker failed to start" } });
  let last = 0;
  const ask = (method, ...args) => {
    last += 1;
    const id = last;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, method, args });
    });
  };
  workers.set(name, { worker, ask });
  return ask("open", options);
};

window.ask = (name, method, ...args) => workers.get(name).ask(method, ...args);

/** Ends every worker. */
window.endAll = () => {
  for (const { worker } of workers.values()) worker.terminate();
  workers.clear();
};

/** Largest difference of what two workers last put out, relative to the second's largest magnitude. */
window.difference = async (ours, peer) => {
  const [found, expected] = await Promise.all([window.ask(ours, "output"), window.ask(peer, "output")]);
  if (found.length !== expected.length) throw new Error(`${ours} gave ${found.length} values, ${peer} ${expected.length}`);
  let [largest, scale] = [0, 0];
  for (let i = 0; i < found.length; i += 1) {
    const difference = Math.abs(found[i] - expected[i]);
    if (!(difference <= largest)) largest = difference; // so that a NaN stays
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return largest / scale;
};
