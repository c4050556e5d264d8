// A running cluster: its parties, the clients at its nodes, and ways to know when something has arrived.
import { Difference } from "../lib/check.mjs";
import { Connection } from "./lib/member.mjs";
import { Party } from "./lib/party.mjs";
import { Emit } from "./lib/emit.mjs";

const NAMESPACES = ["/", "/custom"];

let counter = 0;
/** A name that nothing else in this run has. */
export const unique = (prefix) => `${prefix}-${++counter}`;

export class Cluster {
  /** `info` is an entry of parties.mjs. */
  static async start(info, redis, onNote) {
    const cluster = new Cluster();
    Object.assign(cluster, info, { redis, key: info.name });
    cluster.sharded = cluster.mode !== undefined;
    cluster.variables = { REDIS_URL: redis.url, KEY: cluster.key, ...info.env };
    cluster.onNote = onNote;
    cluster.senders = await Promise.all(info.parties.map((party) => cluster.#start(party)));
    cluster.nodes = cluster.senders.filter(({ node }) => node);
    await cluster.counted();
    await Promise.all(cluster.nodes.map((node) => cluster.#connect(node)));
    return cluster;
  }

  #start(party) {
    return party.emit ? new Emit(party, this.variables) : Party.start(party, this.variables, this.onNote);
  }

  /** One more node, with clients, when the cluster is running. */
  async add(info) {
    const node = await this.#start(info);
    this.senders.push(node);
    this.nodes.push(node);
    await this.counted();
    await this.#connect(node);
    return node;
  }

  /** A node that is gone without having said so; Redis notices that the connection is closed. */
  async lose(node) {
    await node.kill();
    for (const list of [this.senders, this.nodes]) list.splice(list.indexOf(node), 1);
    await this.counted();
  }

  /** Exactly one counted subscription per namespace and node, or peers would wait for answers that never come. */
  async counted(nodes = this.nodes.length) {
    for (const nsp of NAMESPACES) {
      if (this.sharded) await this.redis.subscribers("SHARDNUMSUB", `${this.key}#${nsp}#`, nodes);
      else await this.redis.subscribers("NUMSUB", `${this.key}-request#${nsp}#`, nodes);
    }
  }

  async #connect(node) {
    node.connections = await this.connect(node);
    const [first, second] = node.connections;
    // Named by what they are at most nodes: the client of socket.io 4 and that of socket.io 2.
    node.members = { "/": { new: first.main, old: second.main }, "/custom": { new: first.custom, old: second.custom } };
  }

  /** One connection of each kind of client at a node. */
  async connect(node) {
    const connections = await Promise.all(
      node.clients.map((version) => Connection.open(node.url, version, `client ${version} at ${node.name}`)),
    );
    for (const { main, custom } of connections) {
      await this.#privateRoom("/", node, main.id);
      await this.#privateRoom("/custom", node, custom.id);
    }
    return connections;
  }

  /** Waits until the room of one socket can be published to, in the modes that give it a channel. */
  async #privateRoom(nsp, node, id) {
    // Ids of the clients of socket.io 2 in custom namespaces do not look like ids; Node does not subscribe to them.
    const own = this.mode === "dynamic-private" || (this.mode === "dynamic" && id.length !== 20 && node.kind === "rust");
    if (own) await this.redis.subscribers("SHARDNUMSUB", `${this.key}#${nsp}#${id}#`, 1);
  }

  /** Puts members into rooms, `[node, member, rooms, data]` each, and waits until messages to these rooms reach them. */
  async place(places, nsp = "/") {
    const nodes = new Map();
    await Promise.all(
      places.map(([node, member, into, data]) => {
        for (const room of into) nodes.set(room, (nodes.get(room) ?? new Set()).add(node));
        return node.call("put", { nsp, sid: member.id, into, data });
      }),
    );
    if (!this.sharded || this.mode === "static") return;
    for (const [room, at] of nodes) {
      await this.redis.subscribers("SHARDNUMSUB", `${this.key}#${nsp}#${room}#`, at.size);
    }
  }

  /** Members of all nodes, or of these, in a namespace: `[node, label, member]`. */
  members(nsp = "/", nodes = this.nodes) {
    return nodes.flatMap((node) => Object.entries(node.members[nsp]).map(([label, member]) => [node, label, member]));
  }

  /**
   * Emits a message from the sender to everybody and waits until it is there: whatever the sender emitted before has
   * arrived by then, or never will. `also` are members that exist for one operation only.
   */
  async fence(sender, nsp = "/", also = []) {
    const members = [...this.members(nsp).map(([, , member]) => member), ...also];
    await this.#fence(sender, { nsp }, members);
  }

  /** The same for what a node emits to its own clients, which it can without Redis. */
  async fenceLocal(node, nsp = "/") {
    const members = this.members(nsp, [node]).map(([, , member]) => member);
    await this.#fence(node, { nsp, flags: { local: true } }, members);
  }

  async #fence(sender, target, members) {
    const event = unique("fence");
    await sender.call("emit", { ...target, event, args: [] });
    await Promise.all(members.map((member) => member.reached(event)));
    for (const member of members) member.forget(event);
  }

  /** What went wrong with the cluster itself, or undefined. */
  trouble() {
    const ended = this.senders.find(({ end }) => end !== undefined);
    if (ended) return `${ended.name} ended (${ended.end}): ${ended.errors.trim().slice(-300)}`;
    for (const nsp of NAMESPACES) {
      const lost = this.members(nsp).find(([, , member]) => member.ended !== undefined);
      if (lost) return `${lost[2].label} was disconnected: ${lost[2].ended}`;
    }
    return undefined;
  }

  async stop() {
    for (const { connections = [] } of this.nodes) connections.forEach((connection) => connection.close());
    const ends = await Promise.all(this.senders.map((party) => party.stop()));
    this.senders.forEach((party, index) => {
      if (ends[index] !== 0) throw new Difference(`${party.name} ended with ${ends[index]} when asked to`);
    });
  }
}
