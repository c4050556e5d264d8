// Runs the cluster suite; see CONTRACT.md, section 4.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Redis } from "./lib/redis.mjs";
import { runCluster, table } from "./matrix.mjs";
import { runFailures, scenarioTable } from "./failures.mjs";
import { clusters, failing } from "./parties.mjs";

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
const programs = { nodeBin: flags["node-bin"], emitBin: flags["emit-bin"] };
const known = { matrix: clusters(programs), failures: failing(programs) };
const names = Object.values(known).flatMap((all) => all.map(({ name }) => name));
for (const name of list(flags.cluster) ?? []) {
  if (!names.includes(name)) usage(`unknown cluster: ${name} (known: ${[...new Set(names)].join(", ")})`);
}
if (flags.part && !known[flags.part]) usage(`unknown part: ${flags.part} (known: ${Object.keys(known).join(", ")})`);

function usage(message) {
  console.error(message);
  process.exit(2);
}

// A client library that throws where nobody can catch it must not take the table with it.
process.on("uncaughtException", (error) => {
  console.error(`uncaught: ${error.stack ?? error}`);
  process.exitCode = 1;
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** The clusters of a part that are wanted. */
function chosen(part) {
  if (flags.part && flags.part !== part) return [];
  const wanted = list(flags.cluster);
  return known[part].filter(({ name }) => !wanted || wanted.includes(name));
}

/** Runs a task for each of some clusters, two at a time, and gives the results in order. */
async function each(infos, task) {
  const results = new Map();
  const queue = [...infos];
  const lane = async () => {
    for (let info = queue.shift(); info; info = queue.shift()) {
      const start = Date.now();
      results.set(info, await task(info));
      console.error(`${info.name}: ${((Date.now() - start) / 1_000).toFixed(1)} s`);
    }
  };
  await Promise.all([lane(), lane()]);
  return infos.map((info) => results.get(info));
}

async function redisServer() {
  const redis = await Redis.start(flags.redis);
  process.on("exit", () => redis.stop());
  return redis;
}

const started = Date.now();
const infos = chosen("matrix");
const shared = infos.length > 0 && (await redisServer());
const matrix = await each(infos, (info) => runCluster(info, shared, options));
matrix.forEach((cells, index) => console.log(`${table(infos[index], cells)}\n`));

// Each on a Redis of its own, which it kills.
const failures = await each(chosen("failures"), async (info) => runFailures(info, await redisServer(), options));
failures.flat().forEach((findings) => console.log(`${scenarioTable(findings)}\n`));

const cells = matrix.flat();
const scenarios = failures.flat();
const count = (verdict) => cells.filter((cell) => cell.verdict === verdict).length;
const sum = (number) => scenarios.reduce((total, findings) => total + number(findings), 0);
const summary = {
  passed: count("ok") + count("deviates") + sum(({ checks, failures: failed }) => checks - failed.length),
  failed: count("failed") + sum(({ failures: failed }) => failed.length),
  skipped: count("none"),
  seconds: (Date.now() - started) / 1_000,
  cells,
  failures: scenarios,
};
// Once more and together: what is cut off a long log is its beginning.
const wrong = [
  ...cells
    .filter(({ verdict }) => verdict === "failed")
    .map(({ cluster, sender, receiver, operation, difference }) => `${cluster}: ${sender} -> ${receiver} ${operation}: ${difference}`),
  ...scenarios.flatMap(({ cluster, scenario, failures: failed }) => failed.map((text) => `${cluster}: ${scenario}: ${text}`)),
];
for (const line of wrong.slice(0, 20)) console.log(`FAIL ${line.slice(0, 500)}`);
if (wrong.length > 20) console.log(`and ${wrong.length - 20} more, see above`);
console.log(
  `${summary.passed} passed (${count("deviates")} of them expected deviations), ${summary.failed} failed, ` +
    `${summary.skipped} without such an operation in ${summary.seconds.toFixed(1)} s`,
);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(summary, null, 2)}\n`);
process.exit(summary.failed > 0 || summary.passed === 0 || process.exitCode ? 1 : 0);
