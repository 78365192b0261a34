// What `./build.sh bench` was asked for.
import { parseArgs } from "node:util";

export const SIZES = ["default", "half", "sd15"];
export const BROWSERS = ["chromium", "firefox"];
export const DEVICES = ["gpu", "cpu"];

const USAGE = `usage: ./build.sh bench [--gpu software|real] [--sizes ${SIZES}] [--browsers ${BROWSERS}] [--devices ${DEVICES}] [--quick]

  --gpu real    the machine's own GPU, with sd15 among the sizes; results go to real.json
  --sizes       models to compare on; default,half without --gpu real
  --devices     what to compare on
  --quick       fewest repetitions
Results are kept only of a run that leaves nothing out: without --quick, in both browsers, on both devices, with at least the default sizes.`;

/** `{gpu, sizes, browsers, devices, isQuick, isComplete}`; ends the process where the arguments are wrong. */
export function readOptions(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        gpu: { type: "string", default: "software" },
        sizes: { type: "string" },
        browsers: { type: "string", default: BROWSERS.join() },
        devices: { type: "string", default: DEVICES.join() },
        quick: { type: "boolean", default: false },
      },
    });
    const isReal = oneOf("gpu", values.gpu, ["software", "real"]) === "real";
    const wanted = isReal ? SIZES : ["default", "half"];
    const sizes = (values.sizes?.split(",") ?? wanted).map((size) => oneOf("sizes", size, SIZES));
    const browsers = values.browsers.split(",").map((browser) => oneOf("browsers", browser, BROWSERS));
    const devices = values.devices.split(",").map((device) => oneOf("devices", device, DEVICES));
    const missing = (all, chosen) => all.filter((name) => !chosen.includes(name));
    const leavesOut = [...missing(wanted, sizes), ...missing(BROWSERS, browsers), ...missing(DEVICES, devices)];
    return { gpu: values.gpu, sizes, browsers, devices, isQuick: values.quick, isComplete: !values.quick && leavesOut.length === 0 };
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return process.exit(1);
  }
}

function oneOf(option, value, allowed) {
  if (!allowed.includes(value)) throw new Error(`--${option}: ${value} is not one of ${allowed.join(", ")}`);
  return value;
}
