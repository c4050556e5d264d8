// Runs the cluster suite; see CONTRACT.md, section 4.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Redis } from "./lib/redis.mjs";
import { runCluster, table } from "./matrix.mjs";
import { clusters } from "./parties.mjs";

const { values: flags } = parseArgs({
  options: {
    "node-bin": { type: "string" },
    "emit-bin": { type: "string" },
    redis: { type: "string", default: "redis-server" },
    cluster: { type: "string" },
    sender: { type: "string" },
    receiver: { type: "string" },
    only: { type: "string" },
    part: { type: "string" },
    json: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});

const list = (text) => text?.split(",");
const options = { only: list(flags.only), sender: flags.sender, receiver: flags.receiver, verbose: flags.verbose };
const known = clusters({ nodeBin: flags["node-bin"], emitBin: flags["emit-bin"] });
const wanted = list(flags.cluster) ?? known.map(({ name }) => name);
for (const name of wanted) {
  if (known.some((cluster) => cluster.name === name)) continue;
  console.error(`unknown cluster: ${name} (known: ${known.map((cluster) => cluster.name).join(", ")})`);
  process.exit(2);
}

// A client library that throws where nobody can catch it must not take the table with it.
process.on("uncaughtException", (error) => {
  console.error(`uncaught: ${error.stack ?? error}`);
  process.exitCode = 1;
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

const started = Date.now();
const cells = [];
if (flags.part !== "failures") {
  const redis = await Redis.start(flags.redis);
  process.on("exit", () => redis.stop());
  const queue = known.filter(({ name }) => wanted.includes(name));
  const results = new Map();
  const lane = async () => {
    for (let info = queue.shift(); info; info = queue.shift()) {
      const start = Date.now();
      results.set(info, await runCluster(info, redis, options));
      console.error(`${info.name}: ${results.get(info).length} cells in ${((Date.now() - start) / 1_000).toFixed(1)} s`);
    }
  };
  await Promise.all([lane(), lane()]);
  for (const info of known) {
    if (!results.has(info)) continue;
    console.log(`${table(info, results.get(info))}\n`);
    cells.push(...results.get(info));
  }
}

const count = (verdict) => cells.filter((cell) => cell.verdict === verdict).length;
const summary = {
  passed: count("ok") + count("deviates"),
  failed: count("failed"),
  skipped: count("none"),
  seconds: (Date.now() - started) / 1_000,
  cells,
};
console.log(
  `${summary.passed} passed (${count("deviates")} of them expected deviations), ${summary.failed} failed, ` +
    `${summary.skipped} without such an operation in ${summary.seconds.toFixed(1)} s`,
);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(summary, null, 2)}\n`);
process.exit(summary.failed > 0 || summary.passed === 0 || process.exitCode ? 1 : 0);
