// Every feature, written once for all Socket.IO clients. `t` is described in lib/case.mjs.
import { Skip, fourBytes, sleep } from "./lib/check.mjs";

const bytes = (...values) => Buffer.from(values);

const VALUES = [
  null,
  true,
  false,
  0,
  -1,
  255,
  65_536,
  4_294_967_296,
  9_007_199_254_740_991,
  -9_007_199_254_740_991,
  1.5,
  -0.25,
  1e-7,
  1.7976931348623157e308,
  "",
  "plain",
  'quote " backslash \\ newline \n tab \t nul \u0000 bell \u0007',
  "é ü ß € 漢字 \u{1f600} \u2028 \u007f",
  "1:2[\"x\"],{}",
  [],
  {},
  [[], [[1]], [null]],
  { a: 1, "key with spaces": { deep: [{ er: "x" }] }, é: "ü", "": "empty" },
  { _placeholder: "no", num: 0 },
];

function nested() {
  return [
    bytes(),
    bytes(0),
    bytes(1, 2, 3, 254, 255),
    { deep: { list: [bytes(4, 5), "text", bytes(6)], none: null } },
    [bytes(7), [bytes(8), [bytes(9, 0x1e, 0x1e)]]],
    "last",
  ];
}

/**
 * Numbered messages both ways every `ms` milliseconds; the upgrade has to wait for that many POST requests, of which two
 * are for CONNECT and `stream-start`.
 */
async function upgradeMidStream(t, posts, ms) {
  const proxy = await t.proxy("main");
  proxy.holdUpgradeUntilPosts(posts);
  const socket = await t.open({ url: proxy.url, listen: ["down"] });
  await socket.emit("stream-start", ms);
  const down = [];
  let up = 0;
  let upgradedAt;
  const upgraded = socket.next(":upgrade").then(() => {
    upgradedAt = { up, down: down.length + socket.queued("down").length };
  });
  const send = () => {
    const i = up++;
    return i % 2 ? socket.emit("up", i, fourBytes(i)) : socket.emit("up", i);
  };
  const sender = setInterval(send, ms);
  t.defer(() => clearInterval(sender));
  const receive = async () => {
    const i = down.length;
    down.push(await socket.next("down"));
    t.equal(down[i], i % 2 ? [i, fourBytes(i)] : [i], `message ${i} from the server`);
  };
  await upgraded;
  while (down.length < upgradedAt.down + 30 || up < upgradedAt.up + 30) await receive();
  clearInterval(sender);
  const total = await socket.ask("stream-stop");
  while (down.length < total) await receive();
  const report = await socket.ask("up-report");
  socket.nothing("down");
  t.equal(report.seen, [...Array(up).keys()], "numbers at the server");
  t.equal(report.wrongBinary, 0, "wrong binary messages at the server");
  t.ok(report.transports.polling > 0, "no message went through polling");
  t.ok(report.transports.websocket > 0, "no message went through the WebSocket");
  t.ok(upgradedAt.down > 0, "no message came through polling");
  t.equal((await socket.ask("whoami")).transport, "websocket", "transport");
  await socket.close();
}

/** A server whose heartbeat can be waited for, and which this client keeps up with. */
const shortHeartbeat = (t) => (t.caps.slow ? "steady" : "short");

export const FEATURES = [
  {
    name: "connect",
    async run(t) {
      const socket = await t.open({ upgraded: true });
      const me = await socket.ask("whoami");
      t.equal(me, { id: socket.id, nsp: "/", protocol: t.eio, transport: t.finalTransport, recovered: false }, "whoami");
      t.match(me.id, /^[A-Za-z0-9_-]{20}$/, "socket id");
    },
  },
  {
    name: "query and headers",
    async run(t) {
      const query = { x: "1", name: `a b&c=${t.foreign}`, empty: "" };
      // A browser cannot add headers to the request of a WebSocket.
      const headers = t.caps.headers === "http" ? t.transport !== "websocket" : t.caps.headers;
      const socket = await t.open({ query, headers: headers ? { "X-Interop": "yes" } : undefined });
      t.equal(
        await socket.ask("handshake"),
        { auth: {}, query, header: headers ? "yes" : null, address: "127.0.0.1" },
        "handshake",
      );
    },
  },
  {
    name: "auth",
    needs: ["namespaces"],
    async run(t) {
      const auth = t.eio === 3 ? { token: "abc", other: `${t.foreign}&=` } : { token: "abc", n: 5, deep: { list: [1, null, "é"] } };
      const socket = await t.open({ nsp: "/custom", auth });
      // The query of the namespace also went into the query of the connection before there was an auth object.
      const { auth: seen } = await socket.ask("handshake");
      t.equal(seen, t.legacyServer ? {} : auth, "auth");
      if (t.eio === 4) {
        const main = await t.open({ auth });
        t.equal((await main.ask("handshake")).auth, auth, "auth in /");
      }
    },
  },
  {
    name: "namespaces",
    needs: ["multiplex"],
    async run(t) {
      const [main, custom, dynamic] = await t.openAll({ nsps: ["/", "/custom", "/dyn-42"], listen: ["echo", "note"] });
      const all = [main, custom, dynamic];
      const ids = [];
      for (const socket of all) {
        const me = await socket.ask("whoami");
        t.equal(me.nsp, socket.nsp, "namespace");
        if (socket === main || !t.caps.mainIdOnly) t.equal(me.id, socket.id, `id in ${socket.nsp}`);
        ids.push(me.id);
      }
      t.equal(new Set(ids).size, 3, "distinct ids");
      if (t.eio === 3) t.equal(ids[2].split("#")[0], "/dyn-42", "prefix of the id");
      await Promise.all(all.map((socket) => socket.emit("echo", socket.nsp, bytes(1))));
      for (const socket of all) t.equal(await socket.next("echo"), [socket.nsp, bytes(1)], `echo in ${socket.nsp}`);
      // A room of one namespace is not a room of another.
      for (const socket of all) await socket.ask("join", "same");
      await main.call("to-room", { rooms: "same", self: true, event: "note", args: ["main"] });
      t.equal(await main.next("note"), ["main"], "note in /");
      for (const socket of [custom, dynamic]) {
        t.equal(await socket.call("ack", "order"), ["order"], "ack");
        socket.nothing("note");
      }
      // Leaving one leaves the others alone.
      if (t.caps.leavesAll) return;
      await custom.call("tag", t.unique("left"));
      await custom.disconnect();
      t.equal(await main.call("ack", 1), [1], "ack in / after leaving /custom");
      t.equal(await dynamic.call("ack", 2), [2], "ack in /dyn-42 after leaving /custom");
    },
  },
  {
    name: "unknown namespace",
    needs: ["namespaces"],
    async run(t) {
      for (const nsp of ["/unknown", "/dyn-x"]) {
        const socket = await t.attempt({ nsp });
        const [error] = await socket.next(":connect_error");
        // Node's server 2 sends a string to old clients, 4 sends them the object it sends to new ones.
        const expected =
          t.eio === 4 ? { message: "Invalid namespace" } : { raw: t.legacyServer ? "Invalid namespace" : { message: "Invalid namespace" } };
        t.equal(error, expected, `refusal of ${nsp}`);
      }
    },
  },
  {
    name: "refused namespace, others go on",
    needs: ["multiplex"],
    async run(t) {
      const [main, closed] = await t.attemptAll({ nsps: ["/", "/closed"] });
      await main.connected();
      const [error] = await closed.next(":connect_error");
      t.equal(error, t.eio === 4 ? { message: "no entry" } : { raw: "no entry" }, "refusal");
      t.equal(await main.call("ack", "still here"), ["still here"], "ack in /");
      closed.nothing(":connect");
    },
  },
  {
    name: "middleware errors",
    needs: ["namespaces"],
    async run(t) {
      const wrong = await t.attempt({ nsp: "/admin", auth: { token: "wrong" } });
      const data = { code: "E_AUTH", need: ["token"], got: "wrong" };
      const [error] = await wrong.next(":connect_error");
      t.equal(error, t.eio === 4 ? { message: "not authorized", data } : { raw: data }, "refusal with data");

      const missing = await t.attempt({ nsp: "/admin" });
      const [second] = await missing.next(":connect_error");
      const nothing = { ...data, got: null };
      t.equal(second, t.eio === 4 ? { message: "not authorized", data: nothing } : { raw: nothing }, "refusal without token");

      const closed = await t.attempt({ nsp: "/closed", auth: { token: "secret" } });
      const [third] = await closed.next(":connect_error");
      t.equal(third, t.eio === 4 ? { message: "no entry" } : { raw: "no entry" }, "refusal without data");

      for (const socket of [wrong, missing, closed]) socket.nothing(":connect");
    },
  },
  {
    name: "middleware accepts",
    needs: ["namespaces"],
    async run(t) {
      const byAuth = await t.open({ nsp: "/admin", auth: { token: "secret" } });
      t.equal((await byAuth.ask("whoami")).nsp, "/admin", "namespace");
      const byQuery = await t.open({ nsp: "/admin", query: { token: "secret" } });
      t.equal((await byQuery.ask("whoami")).nsp, "/admin", "namespace");
    },
  },
  {
    name: "middleware order, first events",
    needs: ["namespaces"],
    async run(t) {
      const socket = await t.open({ nsp: "/welcome", listen: ["welcome", "echo"] });
      await socket.emit("echo", "after");
      t.equal(await socket.next("welcome"), [1, ["first", "second"]], "first welcome");
      t.equal(await socket.next("welcome"), [2, ["first", "second"]], "second welcome");
      t.equal(await socket.next("echo"), ["after"], "echo");
    },
  },
  {
    name: "event middleware",
    onlyNew: true,
    async run(t) {
      const socket = await t.open({ listen: ["refused", "echo"] });
      await socket.emit("forbidden", 1);
      t.equal(await socket.next("refused"), ["event refused"], "refusal");
      await socket.emit("echo", "on");
      t.equal(await socket.next("echo"), ["on"], "echo");
    },
  },
  {
    name: "values",
    async run(t) {
      const socket = await t.open({ listen: ["echo"], upgraded: t.caps.doubleEncoding });
      await socket.emit("echo", ...VALUES);
      t.equal(await socket.next("echo"), VALUES, "echo");
      await socket.emit("echo");
      t.equal(await socket.next("echo"), [], "echo without arguments");
      await socket.emit("nobody listens to this", 1);
      t.equal(await socket.call("ack", ...VALUES), VALUES, "ack");
    },
  },
  {
    name: "binary both ways",
    async run(t) {
      const socket = await t.open({ listen: ["echo"] });
      await socket.emit("echo", ...nested());
      t.equal(await socket.next("echo"), nested(), "echo");
      const ten = Array.from({ length: 10 }, (_, i) => bytes(i));
      await socket.emit("echo", ten);
      t.equal(await socket.next("echo"), [ten], "ten attachments");
      await socket.emit("echo", bytes(1));
      await socket.emit("echo", "text between");
      await socket.emit("echo", bytes(2));
      t.equal(await socket.next("echo"), [bytes(1)], "first of three");
      t.equal(await socket.next("echo"), ["text between"], "second of three");
      t.equal(await socket.next("echo"), [bytes(2)], "third of three");
    },
  },
  {
    name: "binary as base64",
    needs: ["base64"],
    async run(t) {
      const socket = await t.open({ base64: true, listen: ["echo"], upgraded: true });
      await socket.emit("echo", ...nested());
      t.equal(await socket.next("echo"), nested(), "echo");
      t.equal(await socket.call("ack", bytes(0xfb, 0xff)), [bytes(0xfb, 0xff)], "ack");
    },
  },
  {
    name: "acks to the server",
    async run(t) {
      const socket = await t.open();
      t.equal(await socket.call("ack"), [], "no argument");
      t.equal(await socket.call("ack", "one"), ["one"], "one argument");
      t.equal(await socket.call("ack", 1, [2], { three: 3 }), [1, [2], { three: 3 }], "three arguments");
      t.equal(await socket.call("ack", ...nested()), nested(), "binary");
      const many = Array.from({ length: t.caps.fewPackets && t.transport === "polling" ? 8 : 20 }, (_, i) => i);
      const replies = await Promise.all(many.map((i) => socket.call("ack", i, i % 3 ? "text" : bytes(i))));
      t.equal(replies, many.map((i) => [i, i % 3 ? "text" : bytes(i)]), "many at once");
    },
  },
  {
    name: "acks to the client",
    async run(t) {
      const socket = await t.open({ listen: ["question", "answer"], answer: ["question"] });
      const lists = t.caps.oneReplyArgument ? [["one"], [{ deep: bytes(4) }]] : [[], ["one"], [1, "two", { three: 3 }], nested()];
      for (const args of lists) {
        await socket.emit("ask", "question", ...args);
        t.equal(await socket.next("question"), args, "question");
        t.equal(await socket.next("answer"), args, "answer");
      }
      for (let i = 0; i < 10; i++) await socket.emit("ask", "question", i);
      // Whoever waits for ten answers at once may go on in any order: tasks of a runtime are not callbacks.
      const answers = [];
      for (let i = 0; i < 10; i++) answers.push((await socket.next("answer"))[0]);
      t.equal(answers.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "ten answers");
    },
  },
  {
    name: "ack timeout on the server",
    onlyNew: true,
    async run(t) {
      const socket = await t.open({ listen: ["silent", "question", "ask-timeout"], answer: ["question"] });
      await socket.emit("ask-timeout", 100, "silent");
      await socket.next("silent");
      t.equal(await socket.next("ask-timeout"), [t.caps.alwaysAnswers ? "reply" : "timeout"], "no answer");
      await socket.emit("ask-timeout", 5_000, "question");
      t.equal(await socket.next("ask-timeout"), ["reply"], "answer");
    },
  },
  {
    name: "rooms",
    async run(t) {
      const listen = ["note", "end"];
      const a = await t.open({ listen });
      const b = await t.open({ listen });
      const c = await t.open({ listen });
      const [red, blue] = [t.unique("red"), t.unique("blue")];
      t.equal(await a.ask("join", red), [red], "rooms of a");
      t.equal(await b.ask("join", [red, blue]), [blue, red].sort(), "rooms of b");
      t.equal(await c.ask("join", blue), [blue], "rooms of c");
      const ids = await Promise.all([a, b, c].map(async (socket) => (await socket.ask("whoami")).id));
      t.equal(await c.ask("members", red), ids.slice(0, 2).sort(), "members");

      // What each of the three gets is known once the last message to it came.
      const heard = async (socket) => {
        await a.call("to-id", ids[[a, b, c].indexOf(socket)], "end", []);
        await socket.next("end");
        return socket.queued("note").splice(0).map(([value]) => value);
      };
      const all = async () => [await heard(a), await heard(b), await heard(c)];

      await a.call("to-room", { rooms: red, self: false, event: "note", args: [1] });
      t.equal(await all(), [[], [1], []], "one room without the sender");
      await a.call("to-room", { rooms: red, self: true, event: "note", args: [2] });
      t.equal(await all(), [[2], [2], []], "one room with the sender");
      await a.call("to-room", { rooms: [red, blue], self: true, event: "note", args: [3] });
      t.equal(await all(), [[3], [3], [3]], "two rooms, each socket once");
      if (!t.legacyServer) {
        await a.call("to-room", { rooms: [red, blue], except: blue, self: true, event: "note", args: [4] });
        t.equal(await all(), [[4], [], []], "except a room");
        await a.call("to-room", { rooms: [red, blue], except: [ids[1], ids[2]], self: true, event: "note", args: [5] });
        t.equal(await all(), [[5], [], []], "except two ids");
      }
      await a.call("to-room", { rooms: t.unique("empty"), self: true, event: "note", args: [6] });
      t.equal(await all(), [[], [], []], "an empty room");
      await a.call("broadcast", "note", [7]);
      t.equal(await all(), [[], [7], [7]], "broadcast");
      await a.call("to-id", ids[2], "note", [8]);
      t.equal(await all(), [[], [], [8]], "private message");
      t.equal(await b.ask("leave", red), [blue], "rooms of b after leaving");
      await a.call("to-room", { rooms: red, self: true, event: "note", args: [9] });
      t.equal(await all(), [[9], [], []], "after b left");

      await a.call("to-room", { rooms: [red, blue], self: true, event: "note", args: [{ binary: bytes(1, 2) }, "x", bytes(3)] });
      for (const socket of [a, b, c]) {
        t.equal(await socket.next("note"), [{ binary: bytes(1, 2) }, "x", bytes(3)], "binary broadcast");
      }
      await c.disconnect();
      await c.close();
      const left = async () => (await a.ask("members", blue)).length;
      await t.until(async () => (await left()) === 1, "members of the room after c left");
      t.equal(await a.ask("members", blue), [ids[1]], "members of the room after c left");
    },
  },
  {
    name: "room operations, ack from a room",
    onlyNew: true,
    async run(t) {
      const listen = ["question", "silent"];
      const a = await t.open({ listen, answer: ["question"] });
      const b = await t.open({ listen, answer: ["question"] });
      const [room, target] = [t.unique("room"), t.unique("target")];
      await a.ask("join", room);
      await b.ask("join", room);
      const asked = await a.ask("ask-room", { room, timeout: 4_000, event: "question", args: ["yes"] });
      t.equal(asked, { timedOut: false, replies: ["yes", "yes"] }, "answers of a room");
      const silent = await a.ask("ask-room", { room, timeout: 100, event: "silent", args: [] });
      t.equal(silent, t.caps.alwaysAnswers ? { timedOut: false, replies: [null, null] } : { timedOut: true, replies: [] }, "no answers of a room");
      const nobody = await a.ask("ask-room", { room: t.unique("nobody"), timeout: 4_000, event: "question", args: [] });
      t.equal(nobody, { timedOut: false, replies: [] }, "answers of an empty room");
      await a.call("sockets-join", room, target);
      t.equal(await b.ask("rooms"), [room, target].sort(), "rooms of b after joining");
      await a.call("sockets-leave", target, room);
      t.equal(await b.ask("rooms"), [target], "rooms of b after leaving");
      await a.call("leave", target);
      await a.call("disconnect-sockets", target, false);
      t.equal(await b.next(":disconnect"), [t.reasons.serverDisconnect], "reason");
      t.equal(await a.ask("members", target), [], "members after disconnecting");
    },
  },
  {
    name: "order",
    async run(t) {
      const socket = await t.open({ listen: ["burst"] });
      const n = t.caps.fewPackets && t.transport === "polling" ? 10 : 200;
      await socket.emit("burst", n);
      for (let i = 0; i < n; i++) {
        t.equal(await socket.next("burst"), i % 2 ? [i, fourBytes(i)] : [i], `message ${i} from the server`);
      }
      for (let i = 0; i < n; i++) {
        if (i % 2) socket.emit("up", i, fourBytes(i));
        else socket.emit("up", i);
      }
      const report = await socket.ask("up-report");
      t.equal(report.seen, [...Array(n).keys()], "numbers at the server");
      t.equal(report.wrongBinary, 0, "wrong binary messages at the server");
    },
  },
  {
    name: "upgrade mid-stream",
    transports: ["upgrade"],
    needs: ["midstream"],
    async run(t) {
      // Several times, in different rhythms: what gets lost depends on what is under way at the moment of the switch.
      const rhythms = [[6, 3], [4, 2], [5, 1], [8, 1], [12, 2]];
      for (const [posts, ms] of rhythms.slice(0, t.caps.slow ? 2 : 5)) await upgradeMidStream(t, posts, ms);
    },
  },
  {
    name: "upgrade refused, polling goes on",
    transports: ["upgrade"],
    needs: ["midstream"],
    async run(t) {
      const proxy = await t.proxy("main");
      proxy.dropUpgrades(true);
      const socket = await t.open({ url: proxy.url, listen: ["echo"] });
      await t.until(() => proxy.dropped > 0, "attempt to upgrade");
      await socket.emit("echo", "on", bytes(1));
      t.equal(await socket.next("echo"), ["on", bytes(1)], "echo");
      t.equal((await socket.ask("whoami")).transport, "polling", "transport");
      t.equal((await socket.info()).transport, "polling", "transport of the client");
    },
  },
  {
    name: "reconnection after a cut",
    needs: ["reconnect"],
    async run(t) {
      const proxy = await t.proxy("main");
      const socket = await t.open({ url: proxy.url, reconnect: true, listen: ["echo"], upgraded: true });
      const observer = await t.open({});
      const tag = t.unique("cut");
      await socket.call("tag", tag);
      await socket.call("join", "gone with the connection");
      const first = (await socket.ask("whoami")).id;
      await t.idle(proxy);
      proxy.cut();
      t.oneOf((await socket.next(":disconnect"))[0], t.reasons.transport, "reason at the client");
      // An aborted poll is an error of the transport, a WebSocket that ends is its close.
      t.equal(
        await observer.ask("reason-of", tag),
        { reason: t.finalTransport === "polling" ? "transport error" : "transport close", rooms: ["gone with the connection"] },
        "end at the server",
      );
      await socket.connected();
      const me = await socket.ask("whoami");
      t.ok(me.id !== first, "the id is the old one");
      t.equal(await socket.ask("rooms"), [], "rooms");
      await socket.emit("echo", "again", bytes(1));
      t.equal(await socket.next("echo"), ["again", bytes(1)], "echo");
    },
  },
  {
    name: "reconnection after a server close",
    needs: ["reconnect"],
    async run(t) {
      if (t.caps.closeIsFinal && t.transport === "polling") throw new Skip("the client does not reconnect after a close packet");
      const socket = await t.open({ reconnect: true, listen: ["echo"], upgraded: true });
      const observer = await t.open({});
      const tag = t.unique("dropped");
      await socket.call("tag", tag);
      await socket.emit("drop-engine");
      t.oneOf((await socket.next(":disconnect"))[0], t.reasons.transport, "reason at the client");
      t.equal(await observer.ask("reason-of", tag), { reason: "forced close", rooms: [] }, "end at the server");
      await socket.connected();
      await socket.emit("echo", "again");
      t.equal(await socket.next("echo"), ["again"], "echo");
    },
  },
  {
    name: "reconnection to a restarted server",
    needs: ["reconnect"],
    async run(t) {
      if (t.caps.closeIsFinal && t.transport === "polling") throw new Skip("the client does not reconnect after a close packet");
      const server = await t.ownServer("main");
      const proxy = await t.proxyTo(server);
      const socket = await t.open({ url: proxy.url, reconnect: true, upgraded: true });
      proxy.refuse(true);
      t.equal(await server.stop(), { code: 0, signal: null }, "exit of the server");
      t.oneOf((await socket.next(":disconnect"))[0], t.reasons.transport, "reason at the client");
      proxy.target = (await t.ownServer("main")).port;
      proxy.refuse(false);
      await socket.connected();
      t.equal(await socket.call("ack", "again"), ["again"], "ack");
    },
  },
  {
    name: "client leaves the namespace",
    async run(t) {
      const socket = await t.open({ upgraded: true });
      const observer = await t.open();
      const tag = t.unique("leaver");
      await socket.call("tag", tag);
      await socket.call("join", ["y", "x"]);
      await socket.disconnect();
      const { reason, rooms } = await observer.ask("reason-of", tag);
      t.oneOf(reason, t.reasons.leaving, "reason at the server");
      t.equal(rooms, ["x", "y"], "rooms at the end");
    },
  },
  {
    name: "client closes the transport",
    needs: ["closeEngine"],
    async run(t) {
      const socket = await t.open({ upgraded: true });
      const observer = await t.open();
      const tag = t.unique("closer");
      await socket.call("tag", tag);
      await socket.closeEngine();
      t.equal(await observer.ask("reason-of", tag), { reason: "transport close", rooms: [] }, "end at the server");
    },
  },
  {
    name: "server disconnects the socket",
    async run(t) {
      const observer = await t.open();
      for (const event of ["kick", "kick-hard"]) {
        const socket = await t.open({ upgraded: true });
        const tag = t.unique(event);
        await socket.call("tag", tag);
        await socket.emit(event);
        t.equal(await socket.next(":disconnect"), [t.reasons.serverDisconnect], `reason at the client after ${event}`);
        t.equal(await observer.ask("reason-of", tag), { reason: "server namespace disconnect", rooms: [] }, `end at the server after ${event}`);
      }
    },
  },
  {
    name: "server disconnects one of two namespaces",
    needs: ["multiplex"],
    async run(t) {
      const [main, custom] = await t.openAll({ nsps: ["/", "/custom"], upgraded: true });
      await custom.emit("kick");
      t.equal(await custom.next(":disconnect"), [t.reasons.serverDisconnect], "reason in /custom");
      t.equal(await main.call("ack", "on"), ["on"], "ack in /");
      main.nothing(":disconnect");
      const [other, second] = await t.openAll({ nsps: ["/", "/custom"], upgraded: true });
      await second.emit("kick-hard");
      t.equal(await second.next(":disconnect"), [t.reasons.serverDisconnect], "reason in /custom");
      t.equal(await other.next(":disconnect"), [t.reasons.serverDisconnect], "reason in /");
    },
  },
  {
    name: "server shuts down",
    async run(t) {
      const server = await t.ownServer("main");
      const socket = await t.open({ url: server.url, upgraded: true });
      const ended = server.stop();
      t.oneOf((await socket.next(":disconnect"))[0], t.reasons.transport, "reason at the client");
      t.equal(await ended, { code: 0, signal: null }, "exit of the server");
    },
  },
  {
    name: "heartbeat keeps the connection",
    async run(t) {
      const socket = await t.open({ server: shortHeartbeat(t), upgraded: true });
      // Longer than an interval and a timeout together: without heartbeats either side would have given up.
      await sleep(2_800);
      socket.nothing(":disconnect");
      t.equal((await socket.ask("whoami")).id, socket.id, "id");
    },
  },
  {
    name: "ping timeout at the server",
    async run(t) {
      // The upgrade clears the deadline, and the next ping refreshes a timer that is not there any more.
      if (t.server === "node" && t.eio === 3 && t.transport === "upgrade") throw new Skip("Node 4 never times out an old client that upgraded");
      const proxy = await t.proxy(shortHeartbeat(t));
      const socket = await t.open({ url: proxy.url, upgraded: true });
      const observer = await t.open({ server: shortHeartbeat(t) });
      const tag = t.unique("frozen");
      await socket.call("tag", tag);
      proxy.freeze({ up: true, down: true });
      t.equal(await observer.ask("reason-of", tag), { reason: "ping timeout", rooms: [] }, "end at the server");
    },
  },
  {
    name: "ping timeout at the client",
    needs: ["pingTimeout"],
    async run(t) {
      const proxy = await t.proxy(shortHeartbeat(t));
      const socket = await t.open({ url: proxy.url, upgraded: true });
      proxy.freeze({ up: true, down: true });
      t.oneOf((await socket.next(":disconnect"))[0], t.reasons.pingTimeout, "reason at the client");
    },
  },
  {
    name: "connection state recovery",
    needs: ["recovery"],
    async run(t) {
      const proxy = await t.proxy("recovery");
      const room = t.unique("room");
      const socket = await t.open({ url: proxy.url, reconnect: true, listen: ["note"], upgraded: true });
      const sender = await t.open({ server: "recovery" });
      await socket.call("join", room);
      const note = (...args) => sender.call("to-room", { rooms: room, self: false, event: "note", args });
      await note("before");
      t.equal((await socket.next("note")).slice(0, 1), ["before"], "note");
      const tag = t.unique("recovered");
      await socket.call("tag", tag);
      await t.idle(proxy);
      proxy.refuse(true);
      proxy.cut();
      await socket.next(":disconnect");
      await sender.ask("reason-of", tag);
      await note("missed", 1);
      await note("missed", bytes(2));
      await sender.call("to-room", { rooms: t.unique("other"), self: false, event: "note", args: ["not for it"] });
      await note("missed", 3);
      proxy.refuse(false);
      const before = socket.id;
      await socket.connected();
      t.equal(socket.id, before, "id");
      t.equal((await socket.info()).recovered, true, "recovered at the client");
      const me = await socket.ask("whoami");
      t.equal([me.id, me.recovered], [before, true], "id and recovered at the server");
      t.equal(await socket.ask("rooms"), [room], "rooms");
      t.equal((await socket.next("note")).slice(0, 2), ["missed", 1], "first missed");
      t.equal((await socket.next("note")).slice(0, 2), ["missed", bytes(2)], "second missed");
      t.equal((await socket.next("note")).slice(0, 2), ["missed", 3], "third missed");
      await note("after");
      t.equal((await socket.next("note")).slice(0, 1), ["after"], "note after");
    },
  },
  {
    name: "msgpack parser",
    needs: ["msgpack"],
    async run(t) {
      const common = { server: "msgpack", parser: "msgpack" };
      const socket = await t.open({ ...common, listen: ["echo", "question", "answer", "note"], answer: ["question"], auth: { a: 1 } });
      t.equal((await socket.ask("handshake")).auth, { a: 1 }, "auth");
      // A map that looks like a placeholder is only special to the other parser.
      // The encoder of the JavaScript clients breaks numbers beyond 2^64.
      const values = [...VALUES.filter((value) => typeof value !== "number" || value < 2 ** 64), { _placeholder: true, num: 0 }];
      await socket.emit("echo", ...values, ...nested());
      t.equal(await socket.next("echo"), [...values, ...nested()], "echo");
      t.equal(await socket.call("ack"), [], "ack without arguments");
      t.equal(await socket.call("ack", ...nested()), nested(), "ack");
      const reply = t.caps.oneReplyArgument ? [{ binary: bytes(1) }] : nested();
      await socket.emit("ask", "question", ...reply);
      t.equal(await socket.next("answer"), reply, "answer");
      const big = Buffer.alloc(70_000, 7);
      t.equal(await socket.call("ack", big, "x".repeat(70_000)), [big, "x".repeat(70_000)], "big ack");
      const other = await t.open({ ...common, listen: ["note"] });
      const room = t.unique("room");
      await other.call("join", room);
      await socket.call("to-room", { rooms: room, self: false, event: "note", args: [bytes(5), { n: 1.5 }] });
      t.equal(await other.next("note"), [bytes(5), { n: 1.5 }], "note");
      const admin = await t.attempt({ ...common, nsp: "/admin", auth: { token: "no" } });
      t.equal(
        await admin.next(":connect_error"),
        [{ message: "not authorized", data: { code: "E_AUTH", need: ["token"], got: "no" } }],
        "refusal",
      );
      const unknown = await t.attempt({ ...common, nsp: "/unknown" });
      t.equal(await unknown.next(":connect_error"), [{ message: "Invalid namespace" }], "refusal of an unknown namespace");
      const tag = t.unique("msgpack");
      await other.call("tag", tag);
      await other.disconnect();
      const end = await socket.ask("reason-of", tag);
      t.oneOf(end.reason, t.reasons.leaving, "reason at the server");
      t.equal(end.rooms, [room], "rooms at the end");
    },
  },
  {
    name: "1 MB messages",
    async run(t) {
      const socket = await t.open({ listen: ["echo"], upgraded: true });
      const binary = Buffer.alloc(1_000_000);
      for (let i = 0; i < binary.length; i++) binary[i] = (i * 31 + (i >> 8)) & 255;
      const text = "0123456789abcdeé".repeat(62_500);
      await socket.emit("echo", text);
      t.equal(await socket.next("echo"), [text], "text");
      await socket.emit("echo", binary);
      t.equal(await socket.next("echo"), [binary], "binary");
      t.equal(await socket.call("ack", { text, binary }), [{ text, binary }], "both in an ack");
      t.equal(await socket.call("ack", "small"), ["small"], "small one after");
    },
  },
  {
    name: "volatile",
    async run(t) {
      const socket = await t.open({ listen: ["note"] });
      // Volatile may be dropped while polling has no request in the air: at least one of many comes, in order.
      const heard = [];
      await t.until(async () => {
        await socket.emit("volatile", "note", heard.length, bytes(1));
        await socket.call("ack");
        heard.push(...socket.queued("note").splice(0));
        return heard.length > 0;
      }, "volatile message");
      t.equal(heard[0], [0, bytes(1)], "volatile message");
    },
  },
];
