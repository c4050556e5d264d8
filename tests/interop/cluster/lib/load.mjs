// Numbered messages of every node to a room that has one client at every node, and what became of them.
import { Difference, sleep } from "../../lib/check.mjs";
import { unique } from "../cluster.mjs";

/** One message of each node every so many milliseconds. */
const EVERY = 5;
/** For what should come at once: only a failure ever takes so long. */
const BOUND = 60_000;
/** Between two questions how many have been emitted. Asking without a pause keeps the nodes from emitting. */
const PAUSE = 10;

export class Load {
  /** By receiver and sender the numbers, in the order they came. */
  #arrived = new Map();
  /** Where each receiver has to begin with each sender, if not at 0. */
  #first = new Map();
  /** How many messages of each sender there are in the end. */
  emitted = new Map();

  /** The room and its clients; nobody emits yet. */
  static async quiet(cluster) {
    const load = new Load();
    load.cluster = cluster;
    load.event = unique("load");
    load.room = unique("load");
    cluster.nodes.forEach((node) => load.#listen(node));
    await load.#place(cluster.nodes);
    return load;
  }

  static async start(cluster) {
    const load = await Load.quiet(cluster);
    await Promise.all(cluster.nodes.map((node) => load.#emit(node)));
    return load;
  }

  #listen(node) {
    const arrived = new Map();
    this.#arrived.set(node, arrived);
    node.members["/"].new.tap(this.event, (name, i) => {
      if (!arrived.has(name)) arrived.set(name, { numbers: [], highest: -1 });
      const own = arrived.get(name);
      own.numbers.push(i);
      own.highest = Math.max(own.highest, i);
    });
  }

  /** All nodes at once: it is awaited that the room is known at so many. */
  #place(nodes) {
    return this.cluster.place(nodes.map((node) => [node, node.members["/"].new, [this.room]]));
  }

  #emit(node) {
    return node.call("load", { rooms: [this.room], event: this.event, every: EVERY });
  }

  /** A node that came later takes part: whatever is emitted from now on has to reach it. */
  async add(node) {
    this.#listen(node);
    const before = this.cluster.nodes.filter((one) => one !== node);
    await this.#place(this.cluster.nodes);
    const now = await this.now(before);
    for (const [sender, count] of now) this.#first.set(`${node.name} ${sender.name}`, count);
    await this.#emit(node);
    return now;
  }

  /** Every node emits so many without a pause. */
  async crowd(count) {
    const { nodes } = this.cluster;
    const command = { rooms: [this.room], event: this.event, count };
    await Promise.all(nodes.map((node) => node.call("crowd", command)));
    for (const node of nodes) this.emitted.set(node, count);
    await this.#everything();
  }

  last(receiver, sender) {
    return this.#arrived.get(receiver).get(sender.name)?.highest ?? -1;
  }

  /** The last numbers of all senders at all receivers. */
  marks() {
    const { nodes } = this.cluster;
    return new Map(nodes.map((receiver) => [receiver, new Map(nodes.map((sender) => [sender, this.last(receiver, sender)]))]));
  }

  /** How many each node has emitted by now. */
  async now(nodes = this.cluster.nodes) {
    return new Map(await Promise.all(nodes.map(async (node) => [node, await node.call("emitted")])));
  }

  /** Waits until every node has emitted so many more. */
  async more(count, nodes = this.cluster.nodes) {
    const start = await this.now(nodes);
    const end = Date.now() + BOUND;
    for (;;) {
      const now = await this.now(nodes);
      if (nodes.every((node) => now.get(node) >= start.get(node) + count)) return now;
      if (Date.now() > end) throw new Difference(`not ${count} more messages of every node within ${BOUND} ms`);
      // why: a node does not tell of each message it emits
      await sleep(PAUSE);
    }
  }

  /** Waits until each receiver has, of each sender in `marks`, the number there or a later one. */
  async reach(marks, receivers = this.cluster.nodes) {
    const behind = (receiver) => [...marks].find(([sender, mark]) => this.last(receiver, sender) < mark);
    const arrivals = receivers.map((receiver) =>
      receiver.members["/"].new
        .until(() => behind(receiver) === undefined, "messages", BOUND)
        .catch((error) => {
          const [sender, mark] = behind(receiver) ?? [];
          const seen = sender && this.last(receiver, sender);
          throw sender ? new Difference(`${sender.name} -> ${receiver.name}: nothing after ${seen}, waiting for ${mark}`) : error;
        }),
    );
    await Promise.all(arrivals);
  }

  /** Waits until what the nodes emit from now on reaches everybody. */
  async flow(some) {
    const now = await this.now();
    await this.reach(new Map([...now].map(([node, count]) => [node, count + some])));
    return this.now();
  }

  /** A sender that is gone; what it emitted is whatever arrived anywhere. */
  lost(sender) {
    const last = Math.max(...[...this.#arrived.keys()].map((receiver) => this.last(receiver, sender)));
    this.#arrived.delete(sender);
    this.emitted.set(sender, last + 1);
  }

  /** Ends the load and waits for its last messages. */
  async end() {
    await Promise.all(this.cluster.nodes.map(async (node) => this.emitted.set(node, await node.call("unload"))));
    await this.#everything();
  }

  #everything() {
    return this.reach(new Map(this.cluster.nodes.map((node) => [node, this.emitted.get(node) - 1])));
  }

  /** What became of the messages of one sender at one receiver. */
  outcome(receiver, sender) {
    const first = this.#first.get(`${receiver.name} ${sender.name}`) ?? 0;
    const numbers = this.#arrived.get(receiver).get(sender.name)?.numbers ?? [];
    // What came to a new node before it had to is a gift, but in order too.
    return flaws(numbers, Math.min(first, numbers[0] ?? first), this.emitted.get(sender));
  }
}

/** What is wrong with numbers that should run from `first` to `count - 1`: missing, there twice, or later than a higher one. */
function flaws(numbers, first, count) {
  const seen = new Set();
  const [missing, twice, late] = [[], [], []];
  let highest = first - 1;
  for (const number of numbers) {
    if (seen.has(number)) twice.push(number);
    else if (number < highest) late.push(number);
    seen.add(number);
    highest = Math.max(highest, number);
  }
  for (let number = first; number < count; number++) {
    if (!seen.has(number)) missing.push(number);
  }
  return { sent: count - first, missing, twice, late };
}

/** Numbers as text, `3 to 7, 9`. */
export function ranges(numbers, most = 5) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  const text = found.slice(0, most).map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`));
  return text.join(", ") + (found.length > most ? " .." : "");
}
