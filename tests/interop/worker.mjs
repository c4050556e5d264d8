// Runs the cases of one client in a process of its own, so that a library that throws where nobody can catch it costs
// one case, not the run. Talks to run.mjs over the IPC channel.
import { CLIENTS } from "./clients.mjs";
import { Case } from "./lib/case.mjs";
import { Difference, Skip, within } from "./lib/check.mjs";
import { Client } from "./lib/client.mjs";
import { Servers } from "./lib/server.mjs";

const BOUND = 60_000;

// Without run.mjs nobody would end this process and what it started: it leads a process group of its own.
process.on("disconnect", () => process.kill(-process.pid, "SIGKILL"));

const options = JSON.parse(process.argv[2]);
const info = CLIENTS[options.client];
const servers = new Servers(options);

let stray;
const onStray = (error) => stray?.(error);
process.on("uncaughtException", onStray);
process.on("unhandledRejection", onStray);

/** Why a case cannot apply, or undefined. */
function inapplicable(feature) {
  const lacking = (feature.needs ?? []).find((cap) => !info.caps?.[cap]);
  if (lacking) return info.lacks?.[lacking] ?? `the client has no ${lacking}`;
  if (feature.onlyNew && options.server === "node2") return "socket.io 2 has no such feature";
  return undefined;
}

const cases = [];
for (const transport of info.transports) {
  for (const feature of info.features) {
    if (feature.transports && !feature.transports.includes(transport)) continue;
    if (options.only && !feature.name.includes(options.only)) continue;
    cases.push({ transport, feature, skip: inapplicable(feature) });
  }
}
process.send({ plan: cases.map(({ transport, feature }) => ({ transport, feature: feature.name })) });

let client;
async function run({ transport, feature }) {
  const uncaught = new Promise((_resolve, reject) => {
    stray = (error) => reject(new Error(`uncaught: ${error?.stack ?? error}`));
  });
  uncaught.catch(() => {});
  if (info.driver) client ??= await within(BOUND, Client.start(info.driver(options, servers)), "start of the client");
  const t = new Case({ client, info, transport, servers, options });
  let difference;
  try {
    await within(BOUND, Promise.race([feature.run(t), uncaught]), "the case");
  } catch (error) {
    if (error instanceof Skip) throw error;
    difference = error instanceof Difference ? error.message : (error.stack ?? String(error));
  }
  try {
    await within(25_000, t.finish(), "cleaning up");
  } catch (error) {
    difference ??= error.message;
    await within(3_000, client?.stop() ?? Promise.resolve(), "stopping the client").catch(() => {});
    client = undefined;
  }
  stray = undefined;
  for (const text of await servers.died()) difference = difference ? `${difference}; ${text}` : text;
  return difference;
}

for (const [index, entry] of cases.entries()) {
  const result = { index, ok: true };
  const start = performance.now();
  if (entry.skip) result.skipped = entry.skip;
  else {
    try {
      const difference = await run(entry);
      if (difference) Object.assign(result, { ok: false, difference });
    } catch (error) {
      if (error instanceof Skip) result.skipped = error.message;
      else Object.assign(result, { ok: false, difference: error.stack ?? String(error) });
    }
  }
  result.ms = Math.round(performance.now() - start);
  process.send({ result });
}
await within(3_000, client?.stop() ?? Promise.resolve(), "stopping the client").catch(() => {});
await servers.stop();
process.exit(0);
