// Runs the suite: node run.mjs --server node|node2|rust [--server-bin PATH] [--client NAME,..] [--only TEXT]
//                              [--json FILE] [--python PATH] [--rust-client PATH] [--jobs N] [--times]
// See CONTRACT.md for what it does and how to extend it.
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CLIENTS } from "./clients.mjs";

/** Bound on one client as a whole; its cases have bounds of their own. */
const CLIENT_BOUND = 240_000;

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "node" },
    "server-bin": { type: "string" },
    client: { type: "string" },
    only: { type: "string" },
    json: { type: "string" },
    python: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    "rust-client": { type: "string" },
    jobs: { type: "string", default: "2" },
    times: { type: "boolean", default: false },
  },
});

function usage(message) {
  console.error(message);
  process.exit(2);
}

if (!["node", "node2", "rust"].includes(flags.server)) usage(`unknown server: ${flags.server}`);
if (flags.server === "rust" && !flags["server-bin"]) usage("--server rust needs --server-bin PATH");

const wanted = flags.client ? flags.client.split(",") : Object.keys(CLIENTS);
for (const name of wanted) {
  if (!CLIENTS[name]) usage(`unknown client: ${name} (known: ${Object.keys(CLIENTS).join(", ")})`);
}

const children = new Set();
function end(child) {
  // The whole group: a worker has servers and clients of its own.
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // already gone
  }
  children.delete(child);
}
process.on("exit", () => children.forEach(end));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Why a client cannot run at all with these flags, or undefined. */
function unavailable(info) {
  if (flags.server === "node2" && !info.legacy) return "not for socket.io 2";
  return info.unavailable?.(flags);
}

function runClient(name) {
  return new Promise((resolve) => {
    const info = CLIENTS[name];
    const reason = unavailable(info);
    if (reason) {
      return resolve([{ client: info.label, transport: "", feature: "all", ok: true, skipped: reason, difference: null, ms: 0 }]);
    }
    const options = {
      client: name,
      server: flags.server,
      serverBin: flags["server-bin"],
      only: flags.only,
      python: flags.python,
      chromium: flags.chromium,
      rustClient: flags["rust-client"],
    };
    const child = fork(fileURLToPath(new URL("worker.mjs", import.meta.url)), [JSON.stringify(options)], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    children.add(child);
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors = (errors + chunk).slice(-2_000);
    });
    let plan = [];
    const results = new Map();
    const timer = setTimeout(() => end(child), CLIENT_BOUND);
    child.on("message", ({ plan: known, result }) => {
      if (known) plan = known;
      if (!result) return;
      results.set(result.index, result);
      if (!result.ok) console.error(`${info.label}: ${plan[result.index].transport} ${plan[result.index].feature}: FAIL`);
    });
    // What it started goes with it, whatever pipes that still holds.
    child.on("exit", () => end(child));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const died = `the worker ended early (${signal ?? code}) ${errors.trim().slice(-300)}`;
      if (plan.length === 0 && (code !== 0 || signal)) {
        plan = [{ transport: "", feature: "start" }];
      }
      resolve(
        plan.map(({ transport, feature }, index) => {
          const { ok, difference, skipped, ms } = results.get(index) ?? { ok: false, difference: died, ms: 0 };
          return { client: info.label, transport, feature, ok, skipped: skipped ?? null, difference: difference ?? null, ms };
        }),
      );
    });
  });
}

const perClient = new Map();
async function lane(names) {
  for (let name = names.shift(); name; name = names.shift()) {
    const cases = await runClient(name);
    perClient.set(name, cases);
    const failed = cases.filter(({ ok }) => !ok).length;
    const seconds = (cases.reduce((sum, { ms }) => sum + ms, 0) / 1_000).toFixed(1);
    console.error(`${CLIENTS[name].label}: ${cases.length} cases, ${failed} failed, ${seconds} s`);
  }
}
const started = Date.now();
const queue = [...wanted];
await Promise.all(Array.from({ length: Math.max(1, Number(flags.jobs)) }, () => lane(queue)));

// ---- table ---------------------------------------------------------------------------------------

const cases = wanted.flatMap((name) => perClient.get(name));
const rows = [];
for (const name of wanted) {
  const own = perClient.get(name);
  const transports = [...new Set(own.map(({ transport }) => transport))];
  for (const feature of new Set(own.map((entry) => entry.feature))) {
    const cells = transports.map((transport) => {
      const entry = own.find((one) => one.feature === feature && one.transport === transport);
      if (!entry) return null;
      const mark = entry.skipped ? "skip" : entry.ok ? "pass" : "FAIL";
      const time = flags.times && !entry.skipped ? ` ${entry.ms}` : "";
      return transport ? `${transport} ${mark}${time}` : `${mark}${time}`;
    });
    const skipped = own.find((one) => one.feature === feature && one.skipped);
    rows.push({ client: CLIENTS[name].label, feature, cells: cells.filter(Boolean).join("  "), note: skipped?.skipped ?? "" });
    for (const entry of own.filter((one) => one.feature === feature && !one.ok)) {
      rows.push({ client: "", feature: "", cells: `  ${entry.transport}: ${entry.difference.split("\n").slice(0, 3).join(" | ")}`, note: "" });
    }
  }
}
const width = (key) => Math.max(...rows.map((row) => row[key].length), 1);
const [clientWidth, featureWidth] = [width("client"), width("feature")];
let last;
for (const { client, feature, cells, note } of rows) {
  const shown = client === last ? "" : client;
  if (client) last = client;
  console.log(`${shown.padEnd(clientWidth)}  ${feature.padEnd(featureWidth)}  ${cells}${note ? `  (${note})` : ""}`.trimEnd());
}

const count = (test) => cases.filter(test).length;
const summary = {
  server: flags.server,
  passed: count(({ ok, skipped }) => ok && !skipped),
  failed: count(({ ok }) => !ok),
  skipped: count(({ skipped }) => skipped),
  seconds: (Date.now() - started) / 1_000,
  cases,
};
console.log(`\n${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped in ${summary.seconds.toFixed(1)} s`);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(summary, null, 2)}\n`);
process.exit(summary.failed > 0 || summary.passed === 0 ? 1 : 0);
