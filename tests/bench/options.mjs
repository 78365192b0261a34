// What `./build.sh bench` was asked for.
import { parseArgs } from "node:util";

export const SIZES = ["default", "half", "sd15"];
export const BROWSERS = ["chromium", "firefox"];

const USAGE = `usage: ./build.sh bench [--gpu software|real] [--sizes ${SIZES}] [--browsers ${BROWSERS}] [--quick]

  --gpu real    the machine's own GPU, with sd15 among the sizes; results go to real.json
  --sizes       models to compare on; default,half without --gpu real
  --quick       fewest repetitions
Results are kept only of a run that leaves nothing out: without --quick, in both browsers, with at least the default sizes.`;

/** `{gpu, sizes, browsers, isQuick, isComplete}`; ends the process where the arguments are wrong. */
export function readOptions(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        gpu: { type: "string", default: "software" },
        sizes: { type: "string" },
        browsers: { type: "string", default: BROWSERS.join() },
        quick: { type: "boolean", default: false },
      },
    });
    const isReal = oneOf("gpu", values.gpu, ["software", "real"]) === "real";
    const wanted = isReal ? SIZES : ["default", "half"];
    const sizes = (values.sizes?.split(",") ?? wanted).map((size) => oneOf("sizes", size, SIZES));
    const browsers = values.browsers.split(",").map((browser) => oneOf("browsers", browser, BROWSERS));
    const leavesOut = [...wanted.filter((size) => !sizes.includes(size)), ...BROWSERS.filter((name) => !browsers.includes(name))];
    return { gpu: values.gpu, sizes, browsers, isQuick: values.quick, isComplete: !values.quick && leavesOut.length === 0 };
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return process.exit(1);
  }
}

function oneOf(option, value, allowed) {
  if (!allowed.includes(value)) throw new Error(`--${option}: ${value} is not one of ${allowed.join(", ")}`);
  return value;
}
