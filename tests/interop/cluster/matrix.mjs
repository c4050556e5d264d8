// The first table: every operation of every sender, seen at every receiver.
import { Difference, equal, show, sleep } from "../lib/check.mjs";
import { Cluster } from "./cluster.mjs";
import { deviation, LACKING, PROBES } from "./expected.mjs";
import { OPERATIONS } from "./operations.mjs";

/** How long a broadcast waits for acknowledgements, milliseconds. It is waited for where some do not come. */
const ASK = 10_000;
/** How long the sender's own state may take to follow its own request: only a failure ever takes so long. */
const OWN = 30_000;
/** Between two looks at that state. */
const PAUSE = 10;
/** Kinds of nodes that take a question to clients for a malformed request, and report it. */
const REPORTING = ["n5", "n6"];
/** How the packages refuse what they do not have. */
const REFUSAL = /unsupported|is not a function|does not support/;

/** One operation of one sender. */
class Trial {
  #opened = [];

  constructor(cluster, sender) {
    this.cluster = cluster;
    this.sender = sender;
    this.timeout = ASK;
  }

  send(name, parameters) {
    return this.sender.call(name, parameters);
  }

  /** See Cluster.place; `places` gives them for one node. */
  place(places, nsp) {
    return this.cluster.place(this.cluster.nodes.flatMap(places), nsp);
  }

  fence(nsp, also) {
    return this.cluster.fence(this.sender, nsp, also);
  }

  /** Clients for this operation alone, one of each kind at each node. */
  async fresh() {
    const { nodes } = this.cluster;
    const opened = await Promise.all(nodes.map((node) => this.cluster.connect(node)));
    this.#opened.push(...opened.flat());
    return {
      at: (node) => opened[nodes.indexOf(node)] ?? [],
      connections: () => opened.flat(),
      members: (namespace = "main") => opened.flat().map((connection) => connection[namespace]),
    };
  }

  each(cell) {
    return Object.fromEntries(this.cluster.nodes.map((node) => [node.name, cell(node)]));
  }

  async eachAsync(cell) {
    return Object.fromEntries(await Promise.all(this.cluster.nodes.map(async (node) => [node.name, await cell(node)])));
  }

  /** What `look` gives: at once after a fence, and for the sender itself, for whom there is none, when it is `done`. */
  async settled(node, look, done) {
    const end = Date.now() + OWN;
    for (;;) {
      const seen = await look();
      if (node !== this.sender || done(seen) || Date.now() > end) return seen;
      // why: a node does not tell when one of its sockets joins or leaves
      await sleep(PAUSE);
    }
  }

  /**
   * What a node heard from other servers that carries a token. Several trials listen to one node, and the command empties
   * its list: they ask one after the other, or one could be answered before what the other one was given is kept.
   */
  async heard(node, token) {
    node.heard ??= [];
    const before = node.hearing ?? Promise.resolve();
    node.hearing = before.catch(() => {}).then(async () => node.heard.push(...(await node.call("heard"))));
    await node.hearing;
    return node.heard.filter(([, first]) => first === token);
  }

  /** Whether the adapter of a node reported an error; where nobody listens for those, they end the process. */
  async reported(node) {
    // The note is no answer to the one who asked, and may come after it. What is missing is seen below.
    if (REPORTING.includes(node.kind)) await node.noted(/^adapter: /).catch(() => {});
    return node.notes.some((text) => text.startsWith("adapter: "));
  }

  finish() {
    for (const connection of this.#opened) connection.close();
  }
}

function decide(cluster, sender, receiver, operation, { seen, should }) {
  const place = { cluster: cluster.name, sender, receiver, operation: operation.name, self: sender === receiver };
  const listed = deviation(place, should);
  const cell = { cluster: cluster.name, sender: sender.name, receiver: receiver.name, operation: operation.name };
  try {
    equal(seen, listed ? listed.seen : should, operation.name);
    return { ...cell, verdict: listed ? "deviates" : "ok", reason: listed?.reason ?? null };
  } catch (error) {
    if (!(error instanceof Difference)) throw error;
    let why = error.message;
    if (listed) {
      const occurred = (() => {
        try {
          equal(seen, should, "");
          return false;
        } catch {
          return true;
        }
      })();
      why = occurred ? `deviates in another way than "${listed.reason}": ${why}` : `does not deviate: "${listed.reason}"`;
    }
    return { ...cell, verdict: "failed", difference: why };
  }
}

/** Whether a sender refuses what it is said to lack. */
async function probe(sender, operation, reason) {
  try {
    await sender.call(...PROBES[operation.name]);
    return { verdict: "failed", difference: `does not lack it: "${reason}"` };
  } catch (error) {
    if (REFUSAL.test(error.message)) return { verdict: "none", reason };
    return { verdict: "failed", difference: `lacks it in another way than "${reason}": ${error.message}` };
  }
}

async function runOperation(cluster, sender, operation, options, report) {
  const lacking = LACKING[sender.kind];
  const base = { cluster: cluster.name, sender: sender.name, operation: operation.name };
  if (lacking?.operations.includes(operation.name)) {
    const refused = await probe(sender, operation, lacking.reason);
    for (const receiver of cluster.nodes) report({ ...base, receiver: receiver.name, ...refused });
    return;
  }
  const trial = new Trial(cluster, sender);
  const started = performance.now();
  let cells;
  try {
    const results = await operation.run(trial);
    cells = cluster.nodes.map((receiver) => decide(cluster, sender, receiver, operation, results[receiver.name]));
    if (options.verbose) cells.forEach((cell, i) => (cell.seen = show(results[cluster.nodes[i].name].seen, 400)));
  } catch (error) {
    const difference = error instanceof Difference ? error.message : (error.stack ?? String(error));
    cells = cluster.nodes.map(({ name }) => ({ ...base, receiver: name, verdict: "failed", difference }));
  }
  trial.finish();
  const ms = Math.round(performance.now() - started);
  const trouble = cluster.trouble();
  for (const cell of cells) {
    if (trouble && cell.verdict !== "failed") Object.assign(cell, { verdict: "failed", difference: trouble });
    report({ ...cell, ms });
  }
  if (trouble) throw new Difference(trouble);
}

/**
 * All operations of one sender. Those that end at a timeout somewhere run beside the others, which fill that time: so it
 * can be long enough for a machine that has other things to do.
 */
async function runSender(cluster, sender, options, report) {
  const wanted = OPERATIONS.filter(
    ({ name, only }) => (options.only?.includes(name) ?? true) && (only?.includes(sender.kind) ?? true),
  );
  const run = (operation) => runOperation(cluster, sender, operation, options, report);
  const others = async () => {
    for (const operation of wanted.filter(({ waits }) => !waits)) await run(operation);
  };
  await settled([...wanted.filter(({ waits }) => waits).map(run), others()]);
}

/** Waits for all of them; fails as the first that failed. */
async function settled(promises) {
  const failed = (await Promise.allSettled(promises)).find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

/** Runs one cluster and gives its cells. */
export async function runCluster(info, redis, options) {
  const cells = [];
  const report = (cell) => {
    cells.push(cell);
    if (options.verbose) {
      console.error(`${cell.cluster}: ${cell.sender} -> ${cell.receiver} ${cell.operation}: ${cell.verdict} ${cell.ms ?? ""} ${cell.difference ?? cell.seen ?? ""}`);
    }
  };
  const onNote = (party, text) => options.verbose && console.error(`${info.name}: ${party.name}: ${text}`);
  let cluster;
  try {
    cluster = await Cluster.start(info, redis, onNote);
    const wanted = cluster.senders.filter(({ kind, name }) => !options.sender || [kind, name].includes(options.sender));
    // Senders do not disturb each other: whatever they use has a name of its own.
    await settled(wanted.map((sender) => runSender(cluster, sender, options, report)));
    await cluster.counted();
    await cluster.stop();
  } catch (error) {
    const difference = error instanceof Difference ? error.message : (error.stack ?? String(error));
    report({ cluster: info.name, sender: "", receiver: "", operation: "cluster", verdict: "failed", difference });
    cluster?.senders.forEach((party) => party.kill?.());
  }
  const order = info.parties.map(({ name }) => name);
  return cells
    .filter(({ receiver }) => !options.receiver || receiver === options.receiver)
    .sort((a, b) => order.indexOf(a.sender) - order.indexOf(b.sender) || order.indexOf(a.receiver) - order.indexOf(b.receiver));
}

const MARKS = { ok: "ok", none: "-", failed: "FAIL" };

/** The matrix of one cluster as text: a row for each sender and receiver, notes below. */
export function table(info, cells) {
  const columns = OPERATIONS.map(({ name }) => name).filter((name) => cells.some(({ operation }) => operation === name));
  const notes = new Map();
  const mark = (cell) => {
    if (!cell) return "";
    if (cell.verdict !== "deviates") return MARKS[cell.verdict];
    if (!notes.has(cell.reason)) notes.set(cell.reason, `(${String.fromCharCode(97 + notes.size)})`);
    return notes.get(cell.reason);
  };
  const rows = [["from", "to", ...columns]];
  let last;
  for (const sender of new Set(cells.map((cell) => cell.sender))) {
    for (const receiver of new Set(cells.filter((cell) => cell.sender === sender && cell.receiver).map((cell) => cell.receiver))) {
      const own = cells.filter((cell) => cell.sender === sender && cell.receiver === receiver);
      rows.push([sender === last ? "" : sender, receiver, ...columns.map((name) => mark(own.find(({ operation }) => operation === name)))]);
      last = sender;
    }
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = [`${info.name}: ${info.title}`, ""];
  for (const row of rows) lines.push(row.map((text, column) => text.padEnd(widths[column])).join("  ").trimEnd());
  if (notes.size > 0) lines.push("");
  for (const [reason, letter] of notes) lines.push(`${letter} ${reason}`);
  const differences = new Map();
  for (const { sender, receiver, operation, difference } of cells) {
    if (difference) differences.set(`${sender} -> ${receiver} ${operation}`, difference);
  }
  if (differences.size > 0) lines.push("");
  for (const [place, difference] of differences) lines.push(`FAIL ${place}: ${difference}`);
  return lines.join("\n");
}
