// What features see of a client: connections with `emit`, `call` and `next`, whatever the driver behind.
import { Difference, show, within } from "./check.mjs";
import { pack, unpack } from "./codec.mjs";

const BOUND = 20_000;

export class Client {
  #driver;
  #connections = new Map();
  #counter = 0;

  static async start(makeDriver) {
    const client = new Client();
    client.#driver = await makeDriver((message) => client.#onMessage(message));
    return client;
  }

  run(command) {
    return this.#driver.run(command);
  }

  /**
   * Opens a connection and joins namespaces. Resolves to one Socket, or to an array of them if `nsps` is given,
   * without waiting for anything.
   */
  async open({ url, nsp = "/", nsps, transport, listen = [], answer = [], ...rest }) {
    const conn = `c${++this.#counter}`;
    const names = nsps ?? [nsp];
    const sockets = names.map((name) => new Socket(this, conn, name));
    this.#connections.set(conn, new Map(sockets.map((socket) => [socket.nsp, socket])));
    await this.run({ op: "open", conn, url, nsps: names, transport, listen, answer, ...rest, auth: pack(rest.auth) });
    return nsps ? sockets : sockets[0];
  }

  async close(conn) {
    this.#connections.delete(conn);
    await this.run({ op: "close", conn });
  }

  async closeAll() {
    for (const conn of [...this.#connections.keys()]) await this.close(conn);
  }

  async stop() {
    await this.#driver.stop();
  }

  #onMessage({ conn, nsp, type, args }) {
    const sockets = this.#connections.get(conn);
    if (!sockets) return;
    const values = args.map(unpack);
    const targets = nsp === null ? [...sockets.values()] : [sockets.get(nsp)];
    for (const socket of targets) {
      if (type === "event") socket.deliver(values[0], values.slice(1));
      else socket.deliver(`:${type}`, values);
    }
  }
}

/** One namespace of one connection. Everything that arrives is queued by name until it is asked for. */
class Socket {
  #queues = new Map();
  #waiting = new Map();

  constructor(client, conn, nsp) {
    this.client = client;
    this.conn = conn;
    this.nsp = nsp;
  }

  deliver(name, values) {
    const waiting = this.#waiting.get(name)?.shift();
    if (waiting) return waiting(values);
    if (!this.#queues.has(name)) this.#queues.set(name, []);
    this.#queues.get(name).push(values);
  }

  /** The arguments of the next event of this name; `:connect`, `:disconnect`, `:connect_error`, `:upgrade` are the client's own. */
  next(name, bound = BOUND) {
    const queued = this.#queues.get(name);
    if (queued?.length) return Promise.resolve(queued.shift());
    const arrival = new Promise((resolve) => {
      if (!this.#waiting.has(name)) this.#waiting.set(name, []);
      this.#waiting.get(name).push(resolve);
    });
    return within(bound, arrival, `event ${name} in ${this.nsp}`).catch((difference) => {
      // Often the reason why nothing comes.
      const [ended] = this.queued(":disconnect");
      throw ended ? new Difference(`${difference.message} (disconnected: ${show(ended[0])})`) : difference;
    });
  }

  /** What arrived of this name and was not asked for. */
  queued(name) {
    return this.#queues.get(name) ?? [];
  }

  nothing(name) {
    const queued = this.queued(name);
    if (queued.length) throw new Difference(`event ${name}: expected none, got ${show(queued[0])}`);
  }

  /** Waits for the connection of this namespace; a refusal is a difference. */
  async connected(bound = BOUND) {
    const refused = this.next(":connect_error", bound).then(([error]) => {
      throw new Difference(`connection to ${this.nsp}: refused with ${show(error)}`);
    });
    refused.catch(() => {});
    const [id] = await Promise.race([this.next(":connect", bound), refused]);
    this.id = id;
    return this;
  }

  emit(event, ...args) {
    return this.client.run({ op: "emit", conn: this.conn, nsp: this.nsp, event, args: args.map(pack) });
  }

  /** The arguments of the acknowledgement. */
  async call(event, ...args) {
    const command = { op: "emit", conn: this.conn, nsp: this.nsp, event, args: args.map(pack), ack: true };
    return unpack(await within(BOUND, this.client.run(command), `acknowledgement of ${event}`));
  }

  /** The first argument of the acknowledgement. */
  async ask(event, ...args) {
    return (await this.call(event, ...args))[0];
  }

  info() {
    return this.client.run({ op: "info", conn: this.conn, nsp: this.nsp });
  }

  disconnect() {
    return this.client.run({ op: "disconnect", conn: this.conn, nsp: this.nsp });
  }

  connect() {
    return this.client.run({ op: "connect", conn: this.conn, nsp: this.nsp });
  }

  closeEngine() {
    return this.client.run({ op: "closeEngine", conn: this.conn });
  }

  close() {
    return this.client.close(this.conn);
  }
}
