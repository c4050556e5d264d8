// What a feature is given as `t`: ways to open connections and servers, and assertions.
import { randomBytes } from "node:crypto";
import { equal, match, ok, oneOf, sleep, within } from "./check.mjs";
import { Proxy } from "./proxy.mjs";

export class Case {
  #cleanups = [];

  constructor({ client, info, transport, servers, options }) {
    this.client = client;
    this.transport = transport;
    this.servers = servers;
    this.eio = info.eio;
    this.caps = info.caps ?? {};
    this.reasons = info.reasons;
    /** "node", "node2" or "rust": what an expectation that is not the same for all may look at */
    this.server = options.server;
    this.legacyServer = options.server === "node2";
    this.finalTransport = transport === "upgrade" ? "websocket" : transport;
    /** Text outside of ASCII, unless this client cannot read it in what another party wrote. */
    this.foreign = this.caps.doubleEncoding && transport !== "websocket" ? "e" : "é";
    Object.assign(this, { equal, match, ok, oneOf });
  }

  unique(prefix) {
    return `${prefix}-${randomBytes(4).toString("hex")}`;
  }

  defer(cleanup) {
    this.#cleanups.push(cleanup);
  }

  async finish() {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    this.#cleanups = [];
    if (this.client) await within(20_000, this.client.closeAll(), "closing the connections");
  }

  async proxyTo(server) {
    const proxy = await Proxy.to(server.port);
    this.defer(() => proxy.close());
    return proxy;
  }

  /** A proxy in front of an instance (see INSTANCES in server.mjs). */
  async proxy(instance) {
    return this.proxyTo(await this.servers.get(instance));
  }

  /** Until a polling connection has its poll at the server, so that cutting it is noticed there. */
  async idle(proxy) {
    if (this.finalTransport === "polling") await this.until(() => proxy.holdsPoll(), "poll in the air");
  }

  /** A server that nobody else uses. */
  async ownServer(instance) {
    const server = await this.servers.fresh(instance);
    this.defer(() => server.stop());
    return server;
  }

  async #command({ server = "main", url, upgraded: _upgraded, ...rest }) {
    return { transport: this.transport, url: url ?? (await this.servers.get(server)).url, ...rest };
  }

  /** Opens one namespace without waiting for it. Options: those of Client.open, `server`, or `url`. */
  async attempt(options = {}) {
    return this.client.open(await this.#command(options));
  }

  async attemptAll(options) {
    return this.client.open(await this.#command(options));
  }

  /** Opens one namespace and waits; with `upgraded`, also for the end of an upgrade, if the transport has one. */
  async open(options = {}) {
    const socket = await this.attempt(options);
    await socket.connected();
    if (options.upgraded) await this.#upgraded(socket);
    return socket;
  }

  /** The same for several namespaces over one connection (option `nsps`). */
  async openAll(options) {
    const sockets = await this.attemptAll(options);
    for (const socket of sockets) await socket.connected();
    if (options.upgraded) await this.#upgraded(sockets[0]);
    return sockets;
  }

  async #upgraded(socket) {
    if (this.transport !== "upgrade") return;
    if (!this.caps.upgradesFirst) await socket.next(":upgrade");
    equal((await socket.info()).transport, "websocket", "transport of the client");
    // The client stops using polling before the server has seen the end of the upgrade.
    await this.until(async () => (await socket.ask("whoami")).transport === "websocket", "upgrade at the server");
  }

  /** Repeats a question until the answer is yes. For states of the server that no event announces. */
  async until(question, what, bound = 15_000) {
    const end = Date.now() + bound;
    while (!(await question())) {
      ok(Date.now() < end, `${what}: not within ${bound} ms`);
      await sleep(10);
    }
  }
}
