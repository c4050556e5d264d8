// rust_socketio has no socket ids, no answers to acknowledgements, one namespace for each connection, and either one
// binary argument or text. So it has features of its own besides those of features.mjs that ask for no more.
import { Skip } from "./lib/check.mjs";
import { FEATURES } from "./features.mjs";

/** Features that the library has no call for, so that the table says so instead of leaving the row out. */
const LACKING = {
  namespaces: "one namespace for each connection; those of \"middleware accepts\" and the like are joined one by one",
  "acks to the client": "no handler of the library can answer an event",
  "upgrade mid-stream": "the upgrade is over before the library lets anything be sent",
  "msgpack parser": "the library has no parser but its own",
};

for (const name of Object.keys(LACKING)) {
  if (!FEATURES.some((feature) => feature.name === name)) throw new Error(`no feature is called ${name}`);
}

const SHARED = ["query and headers", "auth", "unknown namespace", "middleware errors", "middleware accepts", "middleware order, first events", "event middleware"];

const VALUES = [null, true, 0, -1, 1.5, 9_007_199_254_740_991, "", 'quote " é € 漢字 \u{1f600}', [], {}, { a: [1, { b: "c" }] }];

export const RUST_FEATURES = [
  ...FEATURES.filter(({ name }) => SHARED.includes(name)),
  ...FEATURES.filter(({ name }) => LACKING[name]).map(({ name, transports }) => ({
    name,
    transports,
    run() {
      throw new Skip(LACKING[name]);
    },
  })),
  {
    name: "connect",
    async run(t) {
      const socket = await t.open();
      const { nsp, protocol, transport } = await socket.ask("whoami");
      t.equal([nsp, protocol, transport], ["/", 4, t.finalTransport], "whoami");
    },
  },
  {
    name: "values",
    async run(t) {
      const socket = await t.open();
      await socket.emit("echo", ...VALUES);
      t.equal(await socket.next("echo"), VALUES, "echo");
    },
  },
  {
    name: "acks to the server",
    async run(t) {
      const socket = await t.open();
      t.equal(await socket.call("ack"), [], "no argument");
      t.equal(await socket.call("ack", "one"), ["one"], "one argument");
      t.equal(await socket.call("ack", ...VALUES), VALUES, "all values");
    },
  },
  {
    name: "binary both ways",
    async run(t) {
      const socket = await t.open();
      for (const binary of [Buffer.from([1, 2, 3, 254, 255]), Buffer.alloc(1_000, 7)]) {
        await socket.emit("echo", binary);
        t.equal(await socket.next("echo"), [binary], `${binary.length} bytes`);
      }
    },
  },
  {
    name: "rooms",
    async run(t) {
      const a = await t.open();
      const b = await t.open();
      const room = t.unique("room");
      t.equal(await a.ask("join", room), [room], "rooms of a");
      t.equal(await b.ask("join", room), [room], "rooms of b");
      await a.call("to-room", { rooms: room, self: false, event: "note", args: ["for b"] });
      t.equal(await b.next("note"), ["for b"], "note");
      await b.call("to-room", { rooms: room, self: true, event: "note", args: ["for both"] });
      t.equal(await a.next("note"), ["for both"], "note of a");
      t.equal(await b.next("note"), ["for both"], "note of b");
      t.equal(await b.ask("leave", room), [], "rooms of b after leaving");
      t.equal((await a.ask("members", room)).length, 1, "members");
    },
  },
  {
    name: "order",
    async run(t) {
      const socket = await t.open();
      const n = 100;
      for (let i = 0; i < n; i++) await socket.emit("up", i * 2);
      const { seen } = await socket.ask("up-report");
      t.equal(seen, Array.from({ length: n }, (_, i) => i * 2), "numbers at the server");
      for (let i = 0; i < n; i++) await socket.emit("echo", i);
      for (let i = 0; i < n; i++) t.equal(await socket.next("echo"), [i], `echo ${i}`);
    },
  },
  {
    name: "server disconnects the socket",
    async run(t) {
      const socket = await t.open();
      const observer = await t.open();
      const tag = t.unique("kick");
      await socket.call("tag", tag);
      await socket.emit("kick", null);
      await socket.next(":disconnect");
      t.equal(await observer.ask("reason-of", tag), { reason: "server namespace disconnect", rooms: [] }, "end at the server");
    },
  },
  {
    name: "client leaves the namespace",
    async run(t) {
      const socket = await t.open();
      const observer = await t.open();
      const tag = t.unique("leaver");
      await socket.call("tag", tag);
      await socket.disconnect();
      t.equal(await observer.ask("reason-of", tag), { reason: "client namespace disconnect", rooms: [] }, "end at the server");
    },
  },
  {
    name: "reconnection after a cut",
    async run(t) {
      const proxy = await t.proxy("main");
      const socket = await t.open({ url: proxy.url, reconnect: true });
      const observer = await t.open();
      const tag = t.unique("cut");
      await socket.call("tag", tag);
      await t.idle(proxy);
      proxy.cut();
      const { reason } = await observer.ask("reason-of", tag);
      t.equal(reason, t.finalTransport === "polling" ? "transport error" : "transport close", "reason at the server");
      await socket.connected();
      t.equal(await socket.call("ack", "again"), ["again"], "ack");
    },
  },
  {
    name: "heartbeat keeps the connection",
    async run(t) {
      const socket = await t.open({ server: "short" });
      const tag = t.unique("heart");
      await socket.call("tag", tag);
      const observer = await t.open({ server: "short" });
      let ended;
      observer.ask("reason-of", tag).then(
        (end) => {
          ended = end;
        },
        () => {},
      );
      await new Promise((resolve) => setTimeout(resolve, 2_800));
      t.equal(ended, undefined, "end at the server");
      t.equal(await socket.call("ack", "alive"), ["alive"], "ack");
    },
  },
  {
    name: "1 MB messages",
    async run(t) {
      if (t.transport === "polling") throw new Skip("the client takes each piece of a large response for a payload of its own");
      const socket = await t.open();
      const text = "0123456789abcdeé".repeat(62_500);
      await socket.emit("echo", text);
      t.equal(await socket.next("echo"), [text], "text");
      const binary = Buffer.alloc(1_000_000, "0123456789");
      await socket.emit("echo", binary);
      t.equal(await socket.next("echo"), [binary], "binary");
    },
  },
];
