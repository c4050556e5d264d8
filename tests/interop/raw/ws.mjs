// The WebSocket side of Engine.IO, the upgrade, and the Socket.IO packets that no client library would send.
import { createRequire } from "node:module";
import { sleep } from "../lib/check.mjs";
import { Polling, Socket } from "../lib/raw.mjs";

const require = createRequire(import.meta.url);

const feature = (name, run) => ({ name, run });
const bytes = (...values) => Buffer.from(values);
const echo = (...args) => `42${JSON.stringify(["echo", ...args])}`;

/** A WebSocket in the main namespace with a tag, and the means to ask for its end. */
async function tagged(t, options) {
  const socket = await Socket.connected(t, options);
  const observer = await Socket.connected(t, { server: options?.server });
  const tag = t.unique("raw");
  await socket.call("tag", tag);
  return {
    socket,
    async reason(expected, what = "reason") {
      const [{ reason }] = await observer.call("reason-of", tag);
      t.equal(reason, expected, what);
    },
  };
}

/** Each of the frame lists must close a fresh connection, without an answer, for this reason. */
async function closes(t, lists, { code = 1005, reason = "forced close", ...options } = {}) {
  for (const [name, ...frames] of lists) {
    const one = await tagged(t, options);
    one.socket.send(...frames);
    t.equal(await one.socket.ended(name), code, `close code after ${name}`);
    await one.reason(reason, `reason after ${name}`);
  }
}

/** Sends the probe of an upgrade on a second connection. */
async function probe(t, session) {
  const socket = await Socket.dial(t, { url: session.base, eio: session.eio, sid: session.sid });
  socket.send("2probe");
  t.equal(await socket.next(), "3probe", "answer to the probe");
  return socket;
}

export const WS_CASES = [
  feature("open, connect, events, binary", async (t) => {
    const socket = await Socket.open(t);
    t.match(
      socket.first,
      /^0\{"sid":"[A-Za-z0-9_-]{20}","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":5000000\}$/,
      "open packet",
    );
    t.equal(socket.ws.extensions, "", "extensions");
    socket.send('40{"token":"x"}');
    const connect = await socket.next();
    t.match(connect, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/, "reply to CONNECT");
    t.ok(!connect.includes(socket.open.sid), "the socket id is the session id");
    socket.send('42["echo"]');
    t.equal(await socket.next(), '42["echo"]', "echo without arguments");
    socket.send('451-["echo",{"a":{"_placeholder":true,"num":0}}]', bytes(1, 2, 255));
    t.equal(await socket.next(), '451-["echo",{"a":{"_placeholder":true,"num":0}}]', "header");
    t.equal(await socket.next(), bytes(1, 2, 255), "attachment without a type byte");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', bytes());
    await socket.next();
    t.equal(await socket.next(), bytes(), "empty attachment");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', "bAQI=");
    await socket.next();
    t.equal(await socket.next(), bytes(1, 2), "attachment that came as base64");
  }),
  feature("base64 on request", async (t) => {
    const socket = await Socket.connected(t, { extra: { b64: "1" } });
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', bytes(1, 2, 3, 4));
    t.equal(await socket.next(), '451-["echo",{"_placeholder":true,"num":0}]', "header");
    t.equal(await socket.next(), "bAQIDBA==", "attachment");
  }),
  feature("CONNECT", async (t) => {
    const socket = await Socket.open(t);
    socket.send('40/custom,{"a":1}');
    t.match(await socket.next(), /^40\/custom,\{"sid":"[A-Za-z0-9_-]{20}"\}$/, "custom namespace without the main one");
    socket.send("40/dyn-1");
    t.match(await socket.next(), /^40\/dyn-1,\{"sid":"[A-Za-z0-9_-]{20}"\}$/, "without comma");
    socket.send("40/unknown,");
    t.equal(await socket.next(), '44/unknown,{"message":"Invalid namespace"}', "unknown");
    socket.send("40/custom?a=b,");
    t.equal(await socket.next(), '44/custom?a=b,{"message":"Invalid namespace"}', "a query is part of the name");
    socket.send("40/closed,");
    t.equal(await socket.next(), '44/closed,{"message":"no entry"}', "refused");
    socket.send('40/admin,{"token":"x"}');
    t.equal(
      await socket.next(),
      '44/admin,{"message":"not authorized","data":{"code":"E_AUTH","need":["token"],"got":"x"}}',
      "refused with data",
    );
    socket.send('40/admin,{"token":"secret"}');
    t.match(await socket.next(), /^40\/admin,\{"sid":/, "second attempt");
    socket.send("41/custom,");
    socket.send('42/dyn-1,["echo","on"]');
    t.equal(await socket.next(), '42/dyn-1,["echo","on"]', "other namespace after leaving one");
    socket.send("40/custom,");
    t.match(await socket.next(), /^40\/custom,\{"sid":/, "joining again");
  }),
  feature("the reply to CONNECT comes first", async (t) => {
    const socket = await Socket.open(t);
    socket.send("40/welcome,");
    t.match(await socket.next(), /^40\/welcome,\{"sid":/, "reply to CONNECT");
    t.equal(await socket.next(), '42/welcome,["welcome",1,["first","second"]]', "first event");
    t.equal(await socket.next(), '42/welcome,["welcome",2,["first","second"]]', "second event");
  }),
  feature("events right after the reply to CONNECT", async (t) => {
    for (let i = 0; i < 20; i++) {
      const socket = await Socket.open(t);
      socket.send("40");
      t.match(await socket.next(), /^40\{"sid":/, "reply to CONNECT");
      socket.send(echo(1), '420["ack",2]');
      t.equal(await socket.next(), echo(1), "echo");
      t.equal(await socket.next(), "430[2]", "ack");
    }
  }),
  feature("state violations close", async (t) => {
    await closes(t, [
      ["a second CONNECT", "40"],
      ["an event for a namespace that was not joined", '42/custom,["echo"]'],
      ["an event for an unknown namespace", '42/unknown,["echo"]'],
      ["DISCONNECT of a namespace that was not joined", "41/custom,"],
      ["CONNECT_ERROR", '44{"message":"x"}'],
    ]);
    const socket = await Socket.open(t);
    socket.send(echo(1));
    t.equal(await socket.ended(), 1005, "close code after an event before CONNECT");
  }),
  feature("packets that cannot be read close", async (t) => {
    await closes(t, [
      ["an unknown type", "49"],
      ["no type", "4"],
      ["an event that is no array", '42{"a":1}'],
      ["an event that is a string", '42"echo"'],
      ["an empty event", "42[]"],
      ["an event whose name is an object", "42[{}]"],
      ["broken JSON", '42["echo"'],
      ["text after the JSON", '42["echo"]x'],
      ["a reserved name: connect", '42["connect"]'],
      ["a reserved name: disconnect", '42["disconnect"]'],
      ["a reserved name: connect_error", '42["connect_error"]'],
      ["a reserved name: disconnecting", '42["disconnecting"]'],
      ["an acknowledgement that is no array", "431{}"],
      ["DISCONNECT with data", "41{}"],
      ["CONNECT with an array", "40/custom,[]"],
      ["CONNECT with null", "40/custom,null"],
    ]);
  }),
  feature("attachments that cannot be read close", async (t) => {
    const holder = (num) => `{"_placeholder":true,"num":${num}}`;
    await closes(t, [
      ["text while one is pending", `451-["echo",${holder(0)}]`, echo(1)],
      ["binary while none is pending", bytes(1)],
      ["eleven attachments", `4511-["echo",${Array.from({ length: 11 }, (_, i) => holder(i)).join(",")}]`],
      ["a number out of range", `451-["echo",${holder(1)}]`, bytes(1)],
      ["a negative number", `451-["echo",${holder(-1)}]`, bytes(1)],
      ["a number as string", `451-["echo",${holder('"0"')}]`, bytes(1)],
      ["no number", '451-["echo",{"_placeholder":true}]', bytes(1)],
      ["no count", `45["echo",${holder(0)}]`],
      ["a count that is no number", `45x-["echo",${holder(0)}]`],
      ["a count without dash", `451["echo",${holder(0)}]`],
    ]);
  }),
  feature("attachments in any order", async (t) => {
    const socket = await Socket.connected(t);
    const holder = (num) => `{"_placeholder":true,"num":${num}}`;
    socket.send(`453-["echo",${holder(2)},${holder(0)},${holder(2)}]`, bytes(1), bytes(2), bytes(3));
    t.equal(await socket.next(), `453-["echo",${holder(0)},${holder(1)},${holder(2)}]`, "header");
    t.equal([await socket.next(), await socket.next(), await socket.next()], [bytes(3), bytes(1), bytes(3)], "attachments");
    socket.send(`4510-["echo",[${Array.from({ length: 10 }, (_, i) => holder(i)).join(",")}]]`, ...Array.from({ length: 10 }, (_, i) => bytes(i)));
    t.match(await socket.next(), /^4510-/, "header of ten");
    for (let i = 0; i < 10; i++) t.equal(await socket.next(), bytes(i), `attachment ${i} of ten`);
    socket.send('42["echo",{"_placeholder":true,"num":0}]');
    t.equal(await socket.next(), '42["echo",{"_placeholder":true,"num":0}]', "a placeholder in a text event is data");
    socket.send('451-["echo","none used"]', bytes(1));
    t.equal(await socket.next(), '42["echo","none used"]', "an attachment nobody refers to");
  }),
  feature("acknowledgements", async (t) => {
    const socket = await Socket.connected(t);
    const pairs = [
      ['420["ack"]', "430[]"],
      ['4217["ack",1,"x"]', '4317[1,"x"]'],
      ['429007199254740991["ack"]', "439007199254740991[]"],
      ['42007["ack"]', "437[]"],
    ];
    for (const [sent, expected] of pairs) {
      socket.send(sent);
      t.equal(await socket.next(), expected, `acknowledgement of ${sent}`);
    }
    socket.send('451-3["ack",{"_placeholder":true,"num":0}]', bytes(9));
    t.equal(await socket.next(), '461-3[{"_placeholder":true,"num":0}]', "binary acknowledgement");
    t.equal(await socket.next(), bytes(9), "its attachment");

    const ids = [];
    for (let i = 0; i < 2; i++) {
      socket.send('42["ask","question","a"]');
      const question = await socket.next();
      t.match(question, /^42\d+\["question","a"\]$/, "question");
      ids.push(Number(/^42(\d+)/.exec(question)[1]));
      socket.send(`43${ids[i]}["x",${i}]`);
      t.equal(await socket.next(), `42["answer","x",${i}]`, "answer");
      socket.send(`43${ids[i]}["again"]`);
    }
    t.equal(ids[1], ids[0] + 1, "ids of the server count up");
    socket.send('42["ask","question"]');
    const id = /^42(\d+)/.exec(await socket.next())[1];
    socket.send(`461-${id}[{"_placeholder":true,"num":0}]`, bytes(7));
    t.equal(await socket.next(), '451-["answer",{"_placeholder":true,"num":0}]', "binary answer");
    t.equal(await socket.next(), bytes(7), "its attachment");
    // Repeated and unknown acknowledgements had no effect.
    socket.send("4399999[]", echo("end"));
    t.equal(await socket.next(), echo("end"), "echo");
  }),
  feature("packets that are ignored", async (t) => {
    const socket = await Socket.connected(t);
    socket.send("3", "6", "5", "0", "42", '42["nobody listens"]', '425["nobody listens"]', '42[7,"a number as name"]', echo("alive"));
    t.equal(await socket.next(), echo("alive"), "echo");
  }),
  feature("Engine.IO packets that cannot be read close", async (t) => {
    await closes(t, [["an unknown type", "x"], ["an empty frame", ""], ["type 7", "7"]], { reason: "parse error" });
    await closes(t, [["a ping", "2"]], { reason: "transport error" });
  }),
  feature("close packet over a WebSocket", async (t) => {
    const { socket, reason } = await tagged(t);
    socket.send("1");
    if (t.server === "rust") {
      t.equal(await socket.ended(), 1005, "close code");
      await reason("transport close");
    } else {
      // Node ignores it on this transport; the protocol says close.
      socket.send(echo("alive"));
      t.equal(await socket.next(), echo("alive"), "echo");
    }
  }),
  feature("end of the WebSocket", async (t) => {
    const closed = await tagged(t);
    closed.socket.ws.close();
    await closed.reason("transport close", "reason after a close frame");
    const cut = await tagged(t);
    cut.socket.ws.terminate();
    await cut.reason("transport close", "reason after a cut");
  }),
  feature("DISCONNECT of the server", async (t) => {
    const socket = await Socket.connected(t);
    socket.send("40/custom,");
    await socket.next();
    socket.send('42["kick"]');
    t.equal(await socket.next(), "41", "DISCONNECT");
    socket.send('42/custom,["echo","on"]');
    t.equal(await socket.next(), '42/custom,["echo","on"]', "the other namespace");
    socket.send("40");
    t.match(await socket.next(), /^40\{"sid":/, "joining again");
    socket.send('42["kick-hard"]');
    // In the order in which they were joined.
    t.equal([await socket.next(), await socket.next()], ["41/custom,", "41"], "DISCONNECT of both");
    t.equal(await socket.ended(), 1005, "close code");
  }),
  feature("heartbeat", async (t) => {
    const { socket, reason } = await tagged(t, { server: "short", pings: true });
    for (let i = 0; i < 3; i++) {
      const begun = performance.now();
      t.equal(await socket.next(), "2", "ping");
      if (i > 0) t.ok(performance.now() - begun > 300, "pings came too early");
      socket.send("3");
    }
    t.equal(await socket.next(), "2", "ping");
    t.equal(await socket.ended(), 1005, "close code without pong");
    await reason("ping timeout");
  }),
  feature("time to join a namespace", async (t) => {
    const socket = await Socket.open(t, { server: "impatient" });
    t.equal(await socket.ended(), 1005, "close code");
    const other = await Socket.connected(t, { server: "impatient" });
    await sleep(700);
    t.equal(await other.call("ack", "still here"), ["still here"], "ack");
  }),
  feature("largest message", async (t) => {
    const socket = await Socket.connected(t, { server: "limited" });
    const largest = echo("x".repeat(1_000_000 - 13));
    t.equal(largest.length, 1_000_000, "length");
    socket.send(largest);
    t.equal((await socket.next()).length, 1_000_000, "length of the echo");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', Buffer.alloc(1_000_000, 1));
    await socket.next();
    t.equal((await socket.next()).length, 1_000_000, "length of the binary echo");
    const text = await tagged(t, { server: "limited" });
    text.socket.send(`${largest} `);
    t.equal(await text.socket.ended(), 1009, "close code of text");
    await text.reason("transport error");
    const binary = await tagged(t, { server: "limited" });
    binary.socket.send('451-["echo",{"_placeholder":true,"num":0}]', Buffer.alloc(1_000_001));
    t.equal(await binary.socket.ended(), 1009, "close code of binary");
    await binary.reason("transport error");
    // The limit is on the message, not on its frames.
    const parts = await tagged(t, { server: "limited" });
    parts.socket.ws.send(`42["echo","${"x".repeat(600_000)}`, { fin: false });
    parts.socket.ws.send(`${"x".repeat(600_000)}"]`, { fin: true });
    t.equal(await parts.socket.ended(), 1009, "close code of two frames");
  }),
  feature("frames", async (t) => {
    const socket = await Socket.connected(t);
    socket.ws.send('42["ec', { fin: false });
    socket.ws.send('ho","é', { fin: false });
    socket.ws.send('€"]', { fin: true });
    t.equal(await socket.next(), echo("é€"), "text in three frames");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]');
    socket.ws.send(bytes(1), { fin: false });
    const pong = new Promise((resolve) => socket.ws.once("pong", (data) => resolve(data.toString())));
    socket.ws.ping("between");
    t.equal(await pong, "between", "answer to a ping frame");
    socket.ws.send(bytes(2), { fin: true });
    await socket.next();
    t.equal(await socket.next(), bytes(1, 2), "binary in two frames");
    const { socket: broken, reason } = await tagged(t);
    broken.ws.send(Buffer.from([0x34, 0x32, 0xff, 0xfe]), { binary: false });
    t.equal(await broken.ended(), 1007, "close code of invalid UTF-8");
    await reason("transport error");
  }),

  // ---- upgrade -----------------------------------------------------------------------------------
  feature("upgrade", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const held = session.hold();
    const socket = await probe(t, session);
    t.equal((await held.answer).text, "6", "poll while probing");
    // Polling still carries messages, both ways.
    await session.send(echo("during"));
    t.equal(await session.packets().then((packets) => packets.filter((packet) => packet !== "6")), [echo("during")], "echo while probing");
    const last = session.hold();
    t.equal((await last.answer).text, "6", "another poll while probing");
    await session.send(echo("buffered"));
    socket.send("5");
    t.equal(await socket.next(), echo("buffered"), "what was buffered for polling");
    socket.send(echo("after"));
    t.equal(await socket.next(), echo("after"), "echo");
    const poll = await session.get();
    t.equal([poll.status, poll.text], [400, '{"code":3,"message":"Bad request"}'], "poll after the upgrade");
    const post = await session.post("3");
    t.equal([post.status, post.text], [400, '{"code":3,"message":"Bad request"}'], "POST after the upgrade");
    const again = await Socket.dial(t, { url: session.base, sid: session.sid });
    t.equal(await again.ended(), 1005, "close code of a second WebSocket");
    t.equal((await socket.call("whoami"))[0].transport, "websocket", "transport");
  }),
  feature("upgrade without waiting for the probe", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const socket = await Socket.dial(t, { url: session.base, sid: session.sid });
    socket.send("2probe", "5", echo("at once"));
    t.equal(await socket.next(), "3probe", "answer to the probe");
    t.equal(await socket.next(), echo("at once"), "echo");
  }),
  feature("upgrade before the namespace is joined", async (t) => {
    const session = await Polling.open(t);
    const socket = await probe(t, session);
    socket.send("5", "40");
    t.match(await socket.next(), /^40\{"sid":/, "reply to CONNECT");
  }),
  feature("poll in the air at the end of the upgrade", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const socket = await Socket.dial(t, { url: session.base, sid: session.sid });
    const held = session.hold();
    await sleep(50);
    socket.send("2probe", "5");
    t.equal(await socket.next(), "3probe", "answer to the probe");
    // A noop if its turn came first, else the end of the transport.
    t.oneOf((await held.answer).text, ["1", "6"], "held poll");
    t.equal(await socket.call("ack", 1), [1], "ack");
  }),
  feature("failed probes leave polling alone", async (t) => {
    const session = await (await Polling.open(t)).connect();
    for (const frame of ["2", "2other", "hello", echo(1), bytes(1), "40"]) {
      const socket = await Socket.dial(t, { url: session.base, sid: session.sid });
      socket.send(frame);
      t.equal(await socket.ended(`the frame ${frame}`), 1005, `close code after ${frame}`);
      t.equal(await session.call("ack", "alive"), ["alive"], `ack after ${frame}`);
    }
    for (const frame of [echo(1), "3"]) {
      const socket = await probe(t, session);
      socket.send(frame);
      t.equal(await socket.ended(`the probe and ${frame}`), 1005, `close code after the probe and ${frame}`);
    }
    const cut = await probe(t, session);
    cut.ws.terminate();
    const packets = [];
    await session.send(echo("alive"));
    while (packets.length === 0) packets.push(...(await session.packets()).filter((packet) => packet !== "6"));
    t.equal(packets, [echo("alive")], "echo over polling");
    const socket = await probe(t, session);
    socket.send("5");
    t.equal(await socket.call("ack", "in the end"), ["in the end"], "ack after a good upgrade");
  }),
  feature("upgrade that takes too long", async (t) => {
    const session = await (await Polling.open(t, { server: "impatient" })).connect();
    const silent = await Socket.dial(t, { url: session.base, sid: session.sid });
    const poll = session.packets();
    t.equal(await silent.ended(), 1005, "close code without a probe");
    await session.send(echo("on"));
    t.equal(await poll, [echo("on")], "echo over polling");
    const probed = await probe(t, session);
    t.equal(await probed.ended(), 1005, "close code after the probe");
    await session.send(echo("on"));
    const packets = [];
    while (packets.length === 0) packets.push(...(await session.packets()).filter((packet) => packet !== "6"));
    t.equal(packets, [echo("on")], "echo over polling");
  }),
  feature("two upgrades at once", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const first = await probe(t, session);
    const second = await Socket.dial(t, { url: session.base, sid: session.sid });
    t.equal(await second.ended(), 1005, "close code of the second");
    first.send("5");
    t.equal(await first.call("ack", "first"), ["first"], "ack over the first");
  }),
  feature("attachments on both sides of the upgrade", async (t) => {
    const session = await (await Polling.open(t)).connect();
    await session.send('452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "bAQ==");
    const socket = await probe(t, session);
    socket.send("5", bytes(2));
    t.equal(await socket.next(), '452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "header");
    t.equal([await socket.next(), await socket.next()], [bytes(1), bytes(2)], "attachments");
  }),
  feature("heartbeat across the upgrade", async (t) => {
    const session = await (await Polling.open(t, { server: "short" })).connect();
    const socket = await Socket.dial(t, { url: session.base, sid: session.sid, pings: true });
    socket.send("2probe", "5");
    t.equal(await socket.next(), "3probe", "answer to the probe");
    for (let i = 0; i < 3; i++) {
      t.equal(await socket.next(), "2", "ping");
      socket.send("3");
    }
    t.equal(await socket.next(), "2", "ping");
    t.equal(await socket.ended(), 1005, "close code without pong");
  }),

  // ---- revision 3 --------------------------------------------------------------------------------
  feature("revision 3", async (t) => {
    const socket = await Socket.open(t, { eio: 3 });
    t.equal(socket.open.upgrades, [], "upgrades");
    t.equal(await socket.next(), "40", "CONNECT without being asked");
    socket.send("2");
    t.equal(await socket.next(), "3", "pong");
    socket.send("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]", bytes(4, 1, 2, 3));
    t.equal(await socket.next(), '451-["echo",{"_placeholder":true,"num":0}]', "header");
    t.equal(await socket.next(), bytes(4, 1, 2, 3), "attachment with its type byte");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', bytes(4));
    await socket.next();
    t.equal(await socket.next(), bytes(4), "empty attachment");
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', "b4AQI=");
    await socket.next();
    t.equal(await socket.next(), bytes(4, 1, 2), "attachment that came as base64");
    socket.send("40/custom?token=abc,");
    t.equal(await socket.next(), "40/custom,", "reply to CONNECT");
    socket.send('42/custom,5["handshake"]');
    t.match(await socket.next(), /^43\/custom,5\[\{"auth":\{"token":"abc"\}/, "auth");
    socket.send("40/unknown");
    t.equal(await socket.next(), '44/unknown,{"message":"Invalid namespace"}', "unknown namespace");
    socket.send("40/closed");
    t.equal(await socket.next(), '44/closed,"no entry"', "refused");
    socket.send('42/custom,["kick"]');
    t.equal(await socket.next(), "41/custom,", "DISCONNECT");
    t.equal(await socket.call("ack", "on"), ["on"], "ack");
  }),
  feature("base64 on request, revision 3", async (t) => {
    const socket = await Socket.connected(t, { eio: 3, extra: { b64: "1" } });
    socket.send('451-["echo",{"_placeholder":true,"num":0}]', bytes(4, 1, 2, 3, 4));
    t.equal(await socket.next(), '451-["echo",{"_placeholder":true,"num":0}]', "header");
    t.equal(await socket.next(), "b4AQIDBA==", "attachment");
  }),
  feature("upgrade of revision 3", async (t) => {
    const session = await (await Polling.open(t, { eio: 3 })).connect();
    const held = session.hold();
    const socket = await probe(t, session);
    t.equal((await held.answer).text, "1:6", "poll while probing");
    socket.send("5", echo("after"));
    t.equal(await socket.next(), echo("after"), "echo");
    socket.send("2");
    t.equal(await socket.next(), "3", "pong");
  }),
  feature("heartbeat of revision 3", async (t) => {
    const { socket, reason } = await tagged(t, { eio: 3, server: "short" });
    // Longer than interval and timeout together.
    for (let i = 0; i < 6; i++) {
      await sleep(300);
      socket.send("2");
      t.equal(await socket.next(), "3", "pong");
    }
    const begun = performance.now();
    t.equal(await socket.ended(), 1005, "close code without pings");
    t.ok(performance.now() - begun > 1_000, "the timeout came before interval and timeout had passed");
    await reason("ping timeout");
  }),

  // ---- msgpack, recovery -------------------------------------------------------------------------
  feature("msgpack packets", async (t) => {
    const { Decoder, Encoder } = require("socket.io-msgpack-parser");
    const socket = await Socket.open(t, { server: "msgpack" });
    const decode = (frame) => {
      const decoder = new Decoder();
      let packet;
      decoder.on("decoded", (decoded) => {
        packet = decoded;
      });
      decoder.add(frame);
      return packet;
    };
    const send = (packet) => socket.send(...new Encoder().encode(packet));
    // {type: 0, nsp: "/"} and nothing else
    socket.send(Buffer.from("82a47479706500a36e7370a12f", "hex"));
    const connect = decode(await socket.next());
    t.equal([connect.type, connect.nsp, typeof connect.data.sid], [0, "/", "string"], "reply to CONNECT");
    send({ type: 2, nsp: "/", data: ["echo", bytes(1), { _placeholder: true, num: 0 }], options: { compress: true } });
    const echoed = decode(await socket.next());
    t.equal([echoed.type, echoed.nsp], [2, "/"], "echo");
    t.equal(echoed.data, ["echo", bytes(1), { _placeholder: true, num: 0 }], "data of the echo");
    send({ type: 2, nsp: "/", id: 300, data: ["ack", "x"] });
    const { type, id, data } = decode(await socket.next());
    t.equal([type, id, data], [3, 300, ["x"]], "acknowledgement");
    // data of CONNECT as the encoder of the clients writes `undefined`
    socket.send(Buffer.concat([Buffer.from("83a47479706500a36e7370a7", "hex"), Buffer.from("/custom"), Buffer.from("a464617461d40000", "hex")]));
    t.equal(decode(await socket.next()).nsp, "/custom", "second namespace");
    socket.send('42["echo"]');
    t.equal(await socket.ended(), 1005, "close code after text");
  }),
  feature("recovery", async (t) => {
    const session = async (...frames) => {
      const socket = await Socket.open(t, { server: "recovery" });
      socket.send(...frames);
      return socket;
    };
    const first = await session("40");
    const { sid, pid } = JSON.parse((await first.next()).slice(2));
    t.match(pid, /^[A-Za-z0-9_-]{20}$/, "pid");
    first.send('42["echo","x"]');
    const [, , offset] = JSON.parse((await first.next()).slice(2));
    t.equal(typeof offset, "string", "offset at the end of the event");
    first.send('42["volatile","note","x"]');
    t.equal(await first.next(), '42["note","x"]', "volatile event, no offset");
    first.send('42["ask","question","x"]');
    t.match(await first.next(), /^42\d+\["question","x"\]$/, "event with acknowledgement, no offset");
    t.equal(await first.call("ack", "x"), ["x"], "acknowledgement, no offset");
    const observer = await Socket.connected(t, { server: "recovery" });
    const tag = t.unique("recovery");
    await first.call("tag", tag);
    first.ws.terminate();
    await observer.call("reason-of", tag);
    await observer.call("to-id", sid, "note", ["missed"]);
    const second = await session(`40${JSON.stringify({ pid, offset })}`);
    t.match(await second.next(), /^42\["note","missed","[^"]+"\]$/, "missed event before the reply to CONNECT");
    t.equal(await second.next(), `40${JSON.stringify({ sid, pid })}`, "reply to CONNECT");
    const unknown = await session('40{"pid":"AAAAAAAAAAAAAAAAAAAA","offset":"x"}');
    const fresh = JSON.parse((await unknown.next()).slice(2));
    t.ok(fresh.sid !== sid && fresh.pid !== pid && fresh.pid !== "AAAAAAAAAAAAAAAAAAAA", "an unknown session was recovered");
    // Leaving on purpose is final.
    second.send("41");
    const third = await session(`40${JSON.stringify({ pid, offset })}`);
    t.ok(JSON.parse((await third.next()).slice(2)).sid !== sid, "a session that was left was recovered");
  }),
];
