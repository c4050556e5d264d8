// The second table: what arrives while Redis or a node breaks.
import { Difference } from "../lib/check.mjs";
import { Cluster } from "./cluster.mjs";
import { Load, ranges } from "./lib/load.mjs";

/** How many messages of each node are awaited where a scenario wants to see some. */
const SOME = 100;
/** Messages of each node at full speed. */
const CROWD = 5_000;

/** What a scenario found: a grid of what arrived, lines about the rest, and what was not as it has to be. */
class Findings {
  grid = [];
  lines = [];
  failures = [];
  checks = 0;

  constructor(scenario) {
    this.scenario = scenario;
  }

  check(condition, failure) {
    this.checks += 1;
    if (!condition) this.failures.push(failure);
  }

  say(line) {
    this.lines.push(line);
  }

  /**
   * What arrived of a load. `outage(receiver, sender)` gives the first and the last number of which some may be missing;
   * `loose` says of a sender that these may also come twice or late.
   */
  arrived(load, receivers, senders, { outage = () => undefined, loose = () => false } = {}) {
    for (const sender of senders) {
      for (const receiver of receivers) {
        const { sent, missing, ...wrong } = load.outcome(receiver, sender);
        this.grid.push({ from: sender.name, to: receiver.name, sent, arrived: sent - missing.length });
        const place = `${sender.name} -> ${receiver.name}`;
        const [first, last] = outage(receiver, sender) ?? [Infinity, -Infinity];
        const outside = (numbers) => numbers.filter((number) => number < first || number > last);
        const lost = outside(missing);
        this.check(lost.length === 0, `${place}: lost ${ranges(lost)} of ${sent}`);
        for (const [what, numbers] of Object.entries(wrong)) {
          const bad = loose(sender) ? outside(numbers) : numbers;
          this.check(bad.length === 0, `${place}: ${what}: ${ranges(bad)} of ${sent}`);
          if (numbers.length > bad.length) this.say(`${place}: ${what}: ${ranges(numbers)}, as ioredis does`);
        }
      }
    }
  }
}

/** The nodes whose clients a request of each node finds. */
async function visible(cluster, nodes = cluster.nodes) {
  return Promise.all(
    nodes.map(async (node) => {
      const { complete, sockets } = await node.call("fetch");
      const ids = new Set(sockets.map(({ id }) => id));
      return { node, complete, seen: cluster.nodes.filter(({ members }) => ids.has(members["/"].new.id)) };
    }),
  );
}

/** Requests of every node are answered by all nodes, and each is counted once. */
async function whole(cluster, findings) {
  await cluster.counted();
  const all = cluster.nodes.length;
  for (const { node, complete, seen } of await visible(cluster)) {
    findings.check(complete && seen.length === all, `${node.name} sees ${seen.length} of ${all} nodes`);
    const count = await node.call("count");
    findings.check(count === all, `${node.name} counts ${count} of ${all} nodes`);
  }
  findings.say(`afterwards every node is answered by all ${all}`);
}

async function crowd(cluster) {
  const findings = new Findings(`${CROWD} messages of every node at full speed`);
  const load = await Load.quiet(cluster);
  await load.crowd(CROWD);
  findings.arrived(load, cluster.nodes, cluster.nodes);
  return findings;
}

/** What a node does to its own clients while Redis is away. */
const LOCAL = {
  // Its cluster adapter publishes first and emits to its own clients when that is done or has failed.
  s8: false,
};
/** Whose adapter tells when it has lost Redis, how, and keeps whatever it has to publish from then on. */
const KEEPS = { rust: /^redis: Lost \{ connection: Publisher/ };
/**
 * How long a restarted Redis may let publishes wait for the last one to subscribe. Nodes of ours prove their subscriptions
 * with a publish, and give up an attempt to connect after 5 seconds.
 */
const QUIET = 4_000;

async function restart(cluster) {
  const findings = new Findings("Redis killed and started again under load");
  const load = await Load.start(cluster);
  await load.flow(SOME);
  const before = load.marks();
  const subscriptions = await cluster.redis.subscriptions();
  const told = new Map(cluster.nodes.map((node) => [node, node.notes.length]));
  await cluster.redis.kill();
  const keeping = cluster.nodes.filter(({ kind }) => KEEPS[kind]);
  await Promise.all(keeping.map((node) => node.noted(KEEPS[node.kind], told.get(node))));
  const down = await load.now();
  const up = await load.more(SOME);
  for (const node of cluster.nodes) {
    await cluster.fenceLocal(node);
    // What is to be published before the node knows that Redis has gone fails: a few messages that tell nothing.
    const local = load.last(node, node) >= down.get(node) + SOME / 2;
    const should = LOCAL[node.kind] ?? true;
    findings.check(local === should, `${node.name}: local clients ${local ? "are" : "are not"} served while Redis is away`);
  }
  const still = cluster.nodes.filter(({ kind }) => LOCAL[kind] === false);
  if (still.length > 0) findings.say(`local clients wait for Redis at ${still.map(({ name }) => name).join(", ")}, as expected of the package`);
  const start = Date.now();
  await cluster.redis.restart(QUIET);
  const together = await cluster.redis.subscribed(subscriptions);
  await cluster.redis.resume();
  const subscribed = `${((Date.now() - start) / 1_000).toFixed(1)} s`;
  if (together) findings.say(`everybody is subscribed again after ${subscribed}, and gets what others kept until then`);
  else findings.say(`not everybody is subscribed again after ${subscribed}: what others kept until then may be missing`);
  await load.reach(up);
  const flowing = await load.flow(SOME);
  findings.say(`all nodes reach all others ${((Date.now() - start) / 1_000).toFixed(1)} s after Redis is back, without help`);
  await load.end();
  // Only what was emitted while Redis was away may be missing, nothing of it to local clients, and nothing of what was
  // kept for those who were subscribed in time.
  const local = (receiver, sender) => receiver === sender && (LOCAL[sender.kind] ?? true);
  const last = (sender) => (together && KEEPS[sender.kind] ? down.get(sender) - 1 : flowing.get(sender));
  findings.arrived(load, cluster.nodes, cluster.nodes, {
    outage: (receiver, sender) =>
      local(receiver, sender) ? undefined : [before.get(receiver).get(sender) + 1, last(sender)],
    // It sends again what it has no answer to, after what it has queued since.
    loose: (sender) => sender.env?.CLIENT === "ioredis",
  });
  await whole(cluster, findings);
  return findings;
}

async function added(cluster, info) {
  const findings = new Findings(`${info.name} added under load`);
  const load = await Load.start(cluster);
  await load.flow(SOME);
  const node = await cluster.add(info);
  await load.add(node);
  await load.flow(SOME);
  await load.end();
  findings.arrived(load, cluster.nodes, cluster.nodes);
  await whole(cluster, findings);
  return findings;
}

/** How a node tells of a request that not everybody answered: with what did arrive, or without. */
const INCOMPLETE = { n7: 0, n8: 0, s8: 0 };

async function lost(cluster, name) {
  const findings = new Findings(`${name} frozen, then killed, under load`);
  const node = cluster.nodes.find((one) => one.name === name);
  const others = cluster.nodes.filter((one) => one !== node);
  const load = await Load.start(cluster);
  await load.flow(SOME);
  await node.freeze();
  for (const { node: asker, complete, seen } of await visible(cluster, others)) {
    const should = INCOMPLETE[asker.kind] ?? others.length;
    findings.check(!complete, `${asker.name}: a request is complete while a node is frozen`);
    findings.check(seen.length === should, `${asker.name}: ${seen.length} nodes in an incomplete answer, expected ${should}`);
    findings.say(`while it is frozen ${asker.name} is told that the answer is incomplete, with ${seen.length} of ${others.length} nodes in it`);
  }
  const clients = Object.values(node.members["/"]);
  await cluster.lose(node);
  await Promise.all(clients.map((member) => member.over()));
  await load.flow(SOME);
  load.lost(node);
  await load.end();
  findings.arrived(load, others, others);
  // Its own last messages may have been on the way.
  findings.arrived(load, others, [node], { outage: (receiver) => [load.last(receiver, node) + 1, Infinity] });
  await whole(cluster, findings);
  return findings;
}

/** Runs the scenarios on one cluster and gives what each found. */
export async function runFailures(info, redis, options) {
  const all = [];
  let cluster;
  const scenario = async (run, ...args) => {
    const start = Date.now();
    const findings = await run(cluster, ...args);
    findings.seconds = (Date.now() - start) / 1_000;
    const trouble = cluster.trouble();
    findings.check(!trouble, trouble);
    all.push({ cluster: info.name, ...findings });
    if (options.verbose) console.error(`${info.name}: ${findings.scenario}: ${findings.seconds} s, ${findings.failures.length} failures`);
  };
  const onNote = (party, text) => options.verbose && console.error(`${info.name}: ${party.name}: ${text}`);
  try {
    cluster = await Cluster.start(info, redis, onNote);
    await scenario(crowd);
    await scenario(restart);
    for (const late of info.late) await scenario(added, late);
    for (const { name } of info.late) await scenario(lost, name);
    await cluster.stop();
  } catch (error) {
    const text = error instanceof Difference ? error.message : (error.stack ?? String(error));
    all.push({ cluster: info.name, scenario: "the scenarios could not go on", grid: [], lines: [], failures: [text], checks: 1 });
    cluster?.senders.forEach((party) => party.kill());
  }
  return all;
}

/** One scenario as text: what arrived, by sender and receiver, and the rest. */
export function scenarioTable({ cluster, scenario, grid, lines, failures, seconds }) {
  const receivers = [...new Set(grid.map(({ to }) => to))];
  const rows = [["from", ...receivers]];
  for (const sender of new Set(grid.map(({ from }) => from))) {
    const cells = receivers.map((receiver) => {
      const cell = grid.find(({ from, to }) => from === sender && to === receiver);
      if (!cell) return "";
      return cell.arrived === cell.sent ? `${cell.sent}` : `${cell.arrived} of ${cell.sent}`;
    });
    rows.push([sender, ...cells]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const text = [`${cluster}: ${scenario}${seconds ? ` (${seconds.toFixed(1)} s)` : ""}`, ""];
  if (grid.length > 0) {
    for (const row of rows) text.push(row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
    text.push("");
  }
  text.push(...lines.map((line) => `- ${line}`), ...failures.map((failure) => `FAIL ${failure}`));
  return text.join("\n").trimEnd();
}
