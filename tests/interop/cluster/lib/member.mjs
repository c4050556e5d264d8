// A real client at a node, in both namespaces over one connection. Everything that arrives is kept by event.
import { createRequire } from "node:module";
import { show, within } from "../../lib/check.mjs";

const require = createRequire(import.meta.url);

/** For what should come at once: only a failure ever takes so long. */
const BOUND = 60_000;
/** What every client tells of itself, to be seen again in the handshake. */
export const QUERY = { color: "blue é" };
export const AUTH = { token: "t1" };
export const HEADERS = { "x-interop": "yes" };
/** Part of every acknowledgement, so that each carries binary. */
const BYTES = Buffer.from([0, 1, 254, 255]);

/** One namespace of a client. */
export class Member {
  #arrived = new Map();
  #waiting = new Set();
  #tapped = new Map();

  constructor(socket, label, version) {
    this.socket = socket;
    this.label = label;
    socket.on("disconnect", (reason) => this.end(reason));
    socket.on("question", (...args) => {
      const reply = args.pop();
      if (typeof reply === "function") reply(this.answer);
    });
    if (version === 4) {
      socket.onAny((event, ...args) => this.#record(event, args));
      return;
    }
    // The old client has no listener for everything.
    const onevent = socket.onevent;
    socket.onevent = (packet) => {
      const [event, ...args] = packet.data;
      this.#record(event, args);
      onevent.call(socket, packet);
    };
  }

  get id() {
    return this.socket.id;
  }

  /** What it answers to `question`. */
  get answer() {
    return { from: this.id, bytes: BYTES };
  }

  connected() {
    const arrival = new Promise((resolve, reject) => {
      if (this.socket.connected) return resolve();
      this.socket.on("connect", resolve);
      this.socket.on("connect_error", (error) => reject(new Error(`${this.label}: ${error.message}`)));
    });
    return within(BOUND, arrival, `connection of ${this.label}`);
  }

  end(reason) {
    this.ended ??= reason;
    this.#wake();
  }

  /** From now on an event of this name is given to `listener` instead of being kept. */
  tap(event, listener) {
    this.#tapped.set(event, listener);
  }

  #record(event, args) {
    const listener = this.#tapped.get(event);
    if (listener) {
      listener(...args);
      return this.#wake();
    }
    if (!this.#arrived.has(event)) this.#arrived.set(event, []);
    this.#arrived.get(event).push(args.filter((arg) => typeof arg !== "function"));
    this.#wake();
  }

  #wake() {
    for (const look of this.#waiting) look();
  }

  /** The arguments of each event of this name that has arrived. */
  got(event) {
    return this.#arrived.get(event) ?? [];
  }

  forget(event) {
    this.#arrived.delete(event);
  }

  /** Waits until a condition on what arrived holds. */
  until(condition, what, bound = BOUND) {
    let look;
    const arrival = new Promise((resolve) => {
      look = () => condition() && resolve();
      this.#waiting.add(look);
      look();
    });
    return within(bound, arrival, `${this.label}: ${what}`).finally(() => this.#waiting.delete(look));
  }

  /** Waits for an event, or for the end, after which nothing comes any more. */
  reached(event) {
    return this.until(() => this.got(event).length > 0 || this.ended !== undefined, show(event));
  }

  over() {
    return this.until(() => this.ended !== undefined, "end of the namespace");
  }
}

/** A connection of one client: `main` and `custom` are its namespaces. */
export class Connection {
  static async open(url, version, label) {
    const connection = new Connection();
    const options = { forceNew: true, reconnection: false, transports: ["websocket"], query: QUERY };
    let main;
    if (version === 4) {
      main = require("socket.io-client-4").io(url, { ...options, auth: AUTH, extraHeaders: HEADERS });
    } else {
      main = require("socket.io-client-2")(url, { ...options, transportOptions: { websocket: { extraHeaders: HEADERS } } });
    }
    const custom = main.io.socket("/custom");
    connection.main = new Member(main, `${label} in /`, version);
    connection.custom = new Member(custom, `${label} in /custom`, version);
    if (version === 4) {
      custom.connect();
    } else {
      // It throws where nobody can catch it and is of no use afterwards.
      const { decoder } = main.io;
      const add = decoder.add;
      decoder.add = (data) => {
        try {
          add.call(decoder, data);
        } catch (error) {
          for (const member of [connection.main, connection.custom]) member.end(`threw: ${error.message}`);
        }
      };
    }
    connection.close = () => main.io.engine?.close();
    await Promise.all([connection.main.connected(), connection.custom.connected()]);
    return connection;
  }
}
