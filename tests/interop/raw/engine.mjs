// engine.io-client of both revisions, without Socket.IO above it.
import { createRequire } from "node:module";
import { fourBytes, within } from "../lib/check.mjs";
import { Socket as Observer } from "../lib/raw.mjs";

const require = createRequire(import.meta.url);
const LIBRARIES = { 3: () => require("engine.io-client-3"), 4: () => require("engine.io-client-6").Socket };
const BOUND = 8_000;

/** engine.io-client with queues for its events. */
class Engine {
  #queues = new Map();
  #waiting = new Map();

  static async open(t, { server = "main", url, transports, ...options } = {}) {
    const engine = new Engine();
    const base = url ?? (await t.servers.get(server)).url;
    const Library = LIBRARIES[t.eio]();
    const names = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[t.transport];
    engine.socket = new Library(base, { path: "/socket.io/", transports: transports ?? names, ...options });
    for (const event of ["open", "handshake", "message", "close", "error", "upgrade", "upgradeError", "ping", "pong"]) {
      engine.socket.on(event, (...args) => engine.#push(event, args));
    }
    t.defer(() => engine.socket.close());
    await engine.next("open");
    return engine;
  }

  #push(event, args) {
    const waiting = this.#waiting.get(event)?.shift();
    if (waiting) return waiting(args);
    if (!this.#queues.has(event)) this.#queues.set(event, []);
    this.#queues.get(event).push(args);
  }

  async next(event) {
    const queued = this.#queues.get(event);
    const [first, ...rest] = queued?.length
      ? queued.shift()
      : await within(
          BOUND,
          new Promise((resolve) => {
            if (!this.#waiting.has(event)) this.#waiting.set(event, []);
            this.#waiting.get(event).push(resolve);
          }),
          `event ${event} of the engine`,
        );
    // Binary comes as Buffer or ArrayBuffer.
    if (event === "message") return first instanceof ArrayBuffer ? Buffer.from(first) : first;
    return event === "upgrade" ? first.name : rest.length > 0 ? [first, ...rest] : first;
  }

  send(...messages) {
    for (const message of messages) this.socket.send(message);
  }

  /** Waits until what was sent has been answered: what is sent next goes into a request of its own. */
  async drained() {
    while (this.socket.writeBuffer.length > 0) {
      await within(BOUND, new Promise((resolve) => this.socket.once("drain", resolve)), "answer to a POST");
    }
  }

  async connect(t) {
    if (t.eio === 4) {
      this.send("0");
      t.match(await this.next("message"), /^0\{"sid":"[A-Za-z0-9_-]{20}"\}$/, "reply to CONNECT");
    } else {
      t.equal(await this.next("message"), "0", "CONNECT of the server");
    }
    return this;
  }

  async call(t, event, ...args) {
    this.send(`27${JSON.stringify([event, ...args])}`);
    const reply = await this.next("message");
    t.match(reply, /^37\[/, `acknowledgement of ${event}`);
    return JSON.parse(reply.slice(2));
  }
}

const HEADER = '51-["echo",{"_placeholder":true,"num":0}]';

export const ENGINE_CASES = [
  {
    name: "open packet",
    async run(t) {
      const { socket } = await Engine.open(t, { upgrade: false });
      t.match(socket.id, /^[A-Za-z0-9_-]{20}$/, "id");
      t.equal(socket.transport.name, t.transport === "websocket" ? "websocket" : "polling", "transport");
      t.equal([socket.pingInterval ?? socket._pingInterval, socket.pingTimeout ?? socket._pingTimeout], [25_000, 20_000], "heartbeat");
      const upgrades = socket.upgrades ?? socket._upgrades;
      t.equal(upgrades, t.transport === "upgrade" ? ["websocket"] : [], "upgrades this client may use");
      if (t.eio === 4) t.equal(socket.maxPayload ?? socket._maxPayload, 5_000_000, "maxPayload");
    },
  },
  {
    name: "messages",
    async run(t) {
      const engine = await (await Engine.open(t, { upgrade: false })).connect(t);
      engine.send('2["echo","é€😀"]', '2["echo",1]');
      // A client of revision 3 without binary support in its requests is as good as any other with text.
      t.equal(await engine.next("message"), '2["echo","é€😀"]', "text");
      t.equal(await engine.next("message"), '2["echo",1]', "second text");
      for (const binary of [Buffer.from([1, 2, 3, 0x1e, 255]), Buffer.alloc(0), Buffer.alloc(70_000, 7)]) {
        engine.send(HEADER, binary);
        t.equal(await engine.next("message"), HEADER, "header");
        t.equal(await engine.next("message"), binary, `${binary.length} bytes`);
      }
      for (let i = 0; i < 100; i++) engine.send(`2["echo",${i}]`);
      for (let i = 0; i < 100; i++) t.equal(await engine.next("message"), `2["echo",${i}]`, `message ${i}`);
    },
  },
  {
    name: "base64",
    async run(t) {
      const engine = await (await Engine.open(t, { upgrade: false, forceBase64: true })).connect(t);
      engine.send(HEADER, Buffer.from([0xfb, 0xff]));
      t.equal(await engine.next("message"), HEADER, "header");
      t.equal(await engine.next("message"), Buffer.from([0xfb, 0xff]), "attachment");
    },
  },
  {
    name: "upgrade with messages under way",
    transports: ["upgrade"],
    async run(t) {
      // The upgrade waits for the POST that carries the first numbered messages; CONNECT and the first message precede it.
      const proxy = await t.proxy("main");
      proxy.holdUpgradeUntilPosts(t.eio === 4 ? 3 : 2);
      const engine = await (await Engine.open(t, { url: proxy.url })).connect(t);
      // The reply to CONNECT may be here before the answer to the POST that carried it.
      await engine.drained();
      engine.send('2["burst",40]');
      let sent = 0;
      const send = () => {
        engine.send(sent % 2 ? `51-["up",${sent},{"_placeholder":true,"num":0}]` : `2["up",${sent}]`);
        if (sent % 2) engine.send(fourBytes(sent));
        sent += 1;
      };
      while (sent < 40) send();
      t.equal(await engine.next("upgrade"), "websocket", "upgrade");
      engine.send('2["burst",40]');
      while (sent < 80) send();
      for (let i = 0; i < 80; i++) {
        const number = i % 40;
        if (number % 2) {
          t.equal(await engine.next("message"), `51-["burst",${number},{"_placeholder":true,"num":0}]`, `header ${i}`);
          t.equal(await engine.next("message"), fourBytes(number), `attachment ${i}`);
        } else {
          t.equal(await engine.next("message"), `2["burst",${number}]`, `message ${i}`);
        }
      }
      const [{ seen, wrongBinary, transports }] = await engine.call(t, "up-report");
      t.equal([seen, wrongBinary], [[...Array(80).keys()], 0], "numbers at the server");
      t.ok(transports.polling > 0 && transports.websocket > 0, `messages went through one transport only: ${JSON.stringify(transports)}`);
      t.equal(engine.socket.transport.name, "websocket", "transport");
      t.equal((await engine.call(t, "whoami"))[0].transport, "websocket", "transport at the server");
    },
  },
  {
    name: "heartbeat",
    async run(t) {
      const engine = await Engine.open(t, { server: "short" });
      await engine.connect(t);
      // The server pings in revision 4, the client in revision 3 (and hears the answer).
      for (let i = 0; i < 3; i++) await engine.next(t.eio === 4 ? "ping" : "pong");
      t.equal(await engine.call(t, "ack", 1), [1], "ack");
    },
  },
  {
    name: "close by the client",
    async run(t) {
      const engine = await (await Engine.open(t, { upgrade: false })).connect(t);
      const observer = await Observer.connected(t);
      const tag = t.unique("engine");
      await engine.call(t, "tag", tag);
      engine.socket.close();
      const [end] = await observer.call("reason-of", tag);
      t.equal(end, { reason: "transport close", rooms: [] }, "end at the server");
    },
  },
  {
    name: "close by the server",
    async run(t) {
      const engine = await (await Engine.open(t, { upgrade: false })).connect(t);
      engine.send('2["drop-engine"]');
      const closed = await engine.next("close");
      t.equal(Array.isArray(closed) ? closed[0] : closed, "transport close", "reason at the client");
    },
  },
  {
    name: "packets that are not allowed",
    async run(t) {
      const engine = await (await Engine.open(t, { upgrade: false })).connect(t);
      const observer = await Observer.connected(t);
      const tag = t.unique("engine");
      await engine.call(t, "tag", tag);
      engine.send("nonsense");
      await engine.next("close");
      const [end] = await observer.call("reason-of", tag);
      t.equal(end, { reason: "forced close", rooms: [] }, "end at the server");
    },
  },
];
