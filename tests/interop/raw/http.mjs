// The HTTP side of Engine.IO: routing, errors, payloads of both revisions, polling rules.
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { sleep, within } from "../lib/check.mjs";
import { Polling, Socket, http, pending, tcp } from "../lib/raw.mjs";

const SEP = "\x1e";
const error = (code) =>
  [
    400,
    JSON.stringify({
      code,
      message: ["Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version"][code],
    }),
  ];

const at = async (t, server, suffix, options) => http(`${(await t.servers.get(server)).url}${suffix}`, options);
const socketio = (t, parameters, options, server = "main") => at(t, server, `/socket.io/?${parameters}`, options);

/** A polling session in the main namespace with a tag, and a WebSocket that can ask for its end. */
async function tagged(t, options) {
  const session = await (await Polling.open(t, options)).connect();
  const observer = await Socket.connected(t, { server: options?.server });
  const tag = t.unique("raw");
  await session.call("tag", tag);
  return {
    session,
    async reason(expected, what = "reason") {
      const [{ reason }] = await observer.call("reason-of", tag);
      t.equal(reason, expected, what);
    },
  };
}

// There is no event for "the server has read this request and holds it".
const settle = () => sleep(50);

const feature = (name, run) => ({ name, run });

export const HTTP_CASES = [
  feature("other paths are not touched", async (t) => {
    for (const path of ["/", "/socket.io?EIO=4&transport=polling", "/socket.iofoo/?EIO=4&transport=polling", "/x/socket.io/"]) {
      t.equal((await at(t, "main", path)).status, 404, `status of ${path}`);
    }
    t.equal((await at(t, "main", "/socket.io/anything/?EIO=4&transport=polling")).status, 200, "status below the path");
  }),
  feature("open packet of revision 4", async (t) => {
    const answer = await socketio(t, "EIO=4&transport=polling&t=abc");
    t.match(
      answer.text,
      /^0\{"sid":"[A-Za-z0-9_-]{20}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":5000000\}$/,
      "open packet",
    );
    const { headers } = answer;
    t.equal(headers["content-type"], "text/plain; charset=UTF-8", "content-type");
    t.equal(headers["cache-control"], "no-store", "cache-control");
    t.equal(headers["content-length"], String(answer.body.length), "content-length");
    t.equal(headers["set-cookie"], undefined, "set-cookie");
    t.equal(headers["access-control-allow-origin"], undefined, "access-control-allow-origin");
    const heartbeat = (await Polling.open(t, { server: "short" })).open;
    t.equal([heartbeat.pingInterval, heartbeat.pingTimeout], [500, 800], "configured heartbeat");
    t.equal((await Polling.open(t, { server: "limited" })).open.maxPayload, 1_000_000, "configured limit");
  }),
  feature("upgrades that are announced", async (t) => {
    for (const server of ["pollingonly", "noupgrade"]) {
      const session = await Polling.open(t, { server });
      t.equal(session.open.upgrades, [], `upgrades of ${server}`);
    }
    const socket = await Socket.open(t);
    t.equal(socket.open.upgrades, [], "upgrades of a WebSocket");
  }),
  feature("error 0, transport", async (t) => {
    for (const parameters of ["EIO=4&transport=nope", "EIO=4", "EIO=4&transport=", "EIO=4&transport=webtransport", "EIO=4&transport=__proto__"]) {
      const answer = await socketio(t, parameters);
      t.equal([answer.status, answer.text], error(0), parameters);
      t.match(answer.headers["content-type"], /^application\/json\b/, "content-type");
    }
    const disabled = await socketio(t, "EIO=4&transport=websocket", {}, "pollingonly");
    t.equal([disabled.status, disabled.text], error(0), "disabled transport");
  }),
  feature("error 1, session id", async (t) => {
    for (const sid of ["nope", "AAAAAAAAAAAAAAAAAAAA", "__proto__", "constructor"]) {
      for (const method of ["GET", "POST"]) {
        const answer = await socketio(t, `EIO=4&transport=polling&sid=${sid}`, { method, body: method === "POST" ? "40" : undefined });
        t.equal([answer.status, answer.text], error(1), `${method} with ${sid}`);
      }
    }
    t.equal((await socketio(t, "EIO=4&transport=polling&sid=")).status, 200, "an empty id is none");
  }),
  feature("error 2, method of the handshake", async (t) => {
    for (const method of ["POST", "PUT", "DELETE"]) {
      const answer = await socketio(t, "EIO=4&transport=polling", { method });
      t.equal([answer.status, answer.text], error(2), method);
    }
  }),
  feature("error 3, bad request", async (t) => {
    const plain = await socketio(t, "EIO=4&transport=websocket");
    t.equal([plain.status, plain.text], error(3), "websocket without upgrade");
    const session = await Polling.open(t);
    const other = await socketio(t, `EIO=4&transport=websocket&sid=${session.sid}`);
    t.equal([other.status, other.text], error(3), "websocket request for a polling session");
    const socket = await Socket.open(t);
    const poll = await socketio(t, `EIO=4&transport=polling&sid=${socket.open.sid}`);
    t.equal([poll.status, poll.text], error(3), "poll for a WebSocket session");
    const revision = await socketio(t, `EIO=3&transport=polling&sid=${session.sid}`);
    t.equal([revision.status, revision.text], error(3), "other revision than the session");
    await session.connect();
  }),
  feature("error 5, revision", async (t) => {
    for (const parameters of ["EIO=3&transport=polling", "transport=polling", "EIO=5&transport=polling"]) {
      const answer = await socketio(t, parameters, {}, "noeio3");
      t.equal([answer.status, answer.text], error(5), parameters);
    }
    t.equal((await socketio(t, "EIO=4&transport=polling", {}, "noeio3")).status, 200, "revision 4");
    const refused = await Socket.dial(t, { server: "noeio3", eio: 3 }).catch((thrown) => ({ thrown }));
    if (t.server === "rust") {
      t.equal([refused.refused?.status, refused.refused?.text], [400, "Unsupported protocol version"], "WebSocket of revision 3");
    } else {
      // Node finds out after it has accepted the WebSocket and writes an HTTP error into it.
      t.equal(await within(3_000, refused.closing, "end of the WebSocket of revision 3"), { code: 1006, reason: "" }, "end");
    }
  }),
  feature("errors of upgrade requests", async (t) => {
    const { port } = await t.servers.get("main");
    const ask = async (parameters, what, message) => {
      const answer = await tcp(
        port,
        `GET /socket.io/?${parameters} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      );
      const [head, body] = answer.split("\r\n\r\n");
      t.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/, `status line of ${what}`);
      t.match(head, /\r\nconnection: close/i, `connection header of ${what}`);
      t.match(head, /\r\ncontent-type: text\/html/i, `content type of ${what}`);
      t.equal(body, message, `body of ${what}`);
    };
    await ask("EIO=4&transport=nope", "an unknown transport", "Transport unknown");
    await ask("EIO=4&transport=websocket&sid=nope", "an unknown session", "Session ID unknown");
  }),
  feature("WebSocket handshake", async (t) => {
    const { port } = await t.servers.get("main");
    const key = "dGhlIHNhbXBsZSBub25jZQ==";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const { outgoing, abort } = pending(`http://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, {
      headers: {
        connection: "keep-alive, Upgrade",
        upgrade: "WebSocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
      },
    });
    const response = await within(
      3_000,
      new Promise((resolve) => {
        outgoing.on("upgrade", (incoming, socket) => {
          socket.destroy();
          resolve(incoming);
        });
      }),
      "switch of protocols",
    );
    abort();
    t.equal(response.statusCode, 101, "status");
    t.equal(response.headers["sec-websocket-accept"], accept, "sec-websocket-accept");
    t.equal(response.headers["sec-websocket-extensions"], undefined, "extensions");
    t.equal(response.headers["set-cookie"], undefined, "set-cookie");
  }),
  feature("poll and POST", async (t) => {
    const session = await Polling.open(t);
    const posted = await session.post('40{"token":1}');
    t.equal([posted.status, posted.text, posted.headers["content-type"]], [200, "ok", "text/html"], "answer to POST");
    t.equal(posted.headers["content-length"], "2", "content-length of POST");
    const polled = await session.get();
    t.match(polled.text, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/, "reply to CONNECT");
    t.ok(!polled.text.includes(session.sid), "the socket id is the session id");
    t.equal(polled.headers["cache-control"], "no-store", "cache-control of a poll");
    await session.send('42["echo",1]', '42["echo","é€😀"]', '420["ack"]', '42["echo"]');
    t.equal(await session.packets(), ['42["echo",1]', '42["echo","é€😀"]', "430[]", '42["echo"]'], "all packets in one poll");
  }),
  feature("a poll is held until there is something", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const poll = session.hold();
    const first = await Promise.race([poll.answer, sleep(150).then(() => "held")]);
    t.equal(first, "held", "poll without packets");
    await session.send('42["echo","now"]');
    t.equal((await poll.answer).text, '42["echo","now"]', "held poll");
  }),
  feature("binary over polling", async (t) => {
    const session = await (await Polling.open(t)).connect();
    await session.send('451-["echo",{"_placeholder":true,"num":0}]', "bAQIDBA==");
    t.equal(await session.packets(), ['451-["echo",{"_placeholder":true,"num":0}]', "bAQIDBA=="], "echo");
    // The header and its attachments in requests of their own.
    await session.send('452-["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]');
    await session.send("bAQ==");
    await session.send("b");
    t.equal(
      await session.packets(),
      ['452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "b", "bAQ=="],
      "echo of three requests",
    );
    // URL-safe alphabet, no padding.
    await session.send('451-["echo",{"_placeholder":true,"num":0}]', "b-_8");
    t.equal((await session.packets())[1], "b+/8=", "lenient base64");
  }),
  feature("two polls at once", async (t) => {
    const { session, reason } = await tagged(t);
    const held = session.hold();
    await settle();
    const second = await session.get();
    t.equal([second.status, second.text], [400, ""], "second poll");
    t.equal((await held.answer).text, "1", "first poll");
    await reason("transport error");
    await session.gone(t, "later request");
  }),
  feature("two POSTs at once", async (t) => {
    const { session, reason } = await tagged(t);
    const first = pending(session.url, { method: "POST", headers: { "content-type": "text/plain", "content-length": "20" } });
    first.outgoing.write('42["e');
    await settle();
    const second = await session.post('42["echo"]');
    t.equal([second.status, second.text], [400, ""], "second POST");
    await reason("transport error");
    first.abort();
    await session.gone(t, "later request");
  }),
  feature("payloads that cannot be read", async (t) => {
    for (const [name, body] of [
      ["unknown packet type", "x"],
      ["empty body", ""],
      ["empty packet at the end", `42["echo"]${SEP}`],
    ]) {
      const { session, reason } = await tagged(t);
      const answer = await session.post(body);
      t.equal([answer.status, answer.text], [200, "ok"], `answer to ${name}`);
      await reason("parse error", `reason after ${name}`);
      await session.gone(t, `request after ${name}`);
    }
  }),
  feature("octet-stream POST in revision 4", async (t) => {
    const { session, reason } = await tagged(t);
    const answer = await session.post(Buffer.from([1, 2]), { "content-type": "application/octet-stream" });
    t.equal(answer.status, 400, "status");
    await reason("transport error");
    await session.gone(t, "later request");
  }),
  feature("other methods", async (t) => {
    const session = await (await Polling.open(t)).connect();
    for (const method of ["PUT", "DELETE"]) {
      const answer = await http(session.url, { method });
      t.oneOf(answer.status, t.server === "rust" ? [400, 405, 500] : [500], `status of ${method}`);
    }
    t.equal(await session.call("ack", "alive"), ["alive"], "ack");
  }),
  feature("413", async (t) => {
    const session = await (await Polling.open(t, { server: "limited" })).connect();
    const fits = `42["echo","${"x".repeat(1_000_000 - 13)}"]`;
    t.equal(fits.length, 1_000_000, "length of the body");
    const tooLong = `${fits} `;
    for (const chunked of [false, true]) {
      const answer = await http(session.url, { method: "POST", body: tooLong, chunked, headers: { "content-type": "text/plain" } }).catch(
        // The connection may end before the whole body has been written.
        (thrown) => ({ status: thrown.code }),
      );
      t.oneOf(answer.status, chunked ? [413, "ECONNRESET", "EPIPE"] : [413], `status of ${tooLong.length} bytes, chunked ${chunked}`);
      if (answer.text !== undefined) t.equal(answer.text, "", "body");
    }
    await session.send(fits);
    t.equal((await session.packets())[0].length, fits.length, "length of the echo");
  }),
  feature("close packet of the client", async (t) => {
    const { session, reason } = await tagged(t);
    const held = session.hold();
    await settle();
    const answer = await session.post("1");
    t.equal([answer.status, answer.text], [200, "ok"], "answer to POST");
    t.equal((await held.answer).text, "6", "held poll");
    await reason("transport close");
    await session.gone(t, "later request");
  }),
  feature("close by the server", async (t) => {
    const session = await (await Polling.open(t)).connect();
    await session.send('42["kick-hard"]');
    const packets = [];
    while (packets.at(-1) !== "1") packets.push(...(await session.packets()));
    t.equal(packets.filter((packet) => packet !== "6"), ["41", "1"], "packets");
    await session.gone(t, "later request");
  }),
  feature("aborted poll", async (t) => {
    const { session, reason } = await tagged(t);
    const held = session.hold();
    await settle();
    held.abort();
    await reason("transport error");
    await session.gone(t, "later request");
  }),
  feature("heartbeat of revision 4", async (t) => {
    const { session, reason } = await tagged(t, { server: "short" });
    const begun = performance.now();
    for (let i = 0; i < 2; i++) {
      t.equal((await session.get()).text, "2", "ping");
      await session.send("3");
    }
    t.ok(performance.now() - begun > 400, "pings came too early");
    t.equal((await session.get()).text, "2", "ping");
    await reason("ping timeout");
    await session.gone(t, "later request");
  }),
  feature("ping of a client of revision 4", async (t) => {
    const { session, reason } = await tagged(t);
    t.equal((await session.post("2")).text, "ok", "answer");
    await reason("transport error");
    await session.gone(t, "later request");
  }),
  feature("packets that are ignored", async (t) => {
    const session = await (await Polling.open(t)).connect();
    await session.send("6");
    await session.send("3");
    await session.send("5");
    await session.send("0");
    await session.send("42");
    await session.send("4399[]");
    t.equal(await session.call("ack", "alive"), ["alive"], "ack");
  }),
  feature("time to join a namespace", async (t) => {
    const session = await Polling.open(t, { server: "impatient" });
    const packets = [];
    while (!packets.includes("1")) packets.push(...(await session.packets()));
    t.equal(packets.filter((packet) => packet !== "6"), ["1"], "packets");
    await session.gone(t, "later request");
  }),
  feature("compression", async (t) => {
    const session = await (await Polling.open(t)).connect();
    const message = `42["echo","${"x".repeat(2_000)}"]`;
    await session.send(message);
    const zipped = await http(session.url, { headers: { "accept-encoding": "gzip" } });
    t.equal(zipped.headers["content-encoding"], "gzip", "content-encoding");
    t.equal(gunzipSync(zipped.body).toString(), message, "content");
    await session.send(message);
    const plain = await session.get();
    t.equal([plain.headers["content-encoding"], plain.text], [undefined, message], "without accept-encoding");
    await session.send('42["echo","short"]');
    const small = await http(session.url, { headers: { "accept-encoding": "gzip" } });
    t.equal([small.headers["content-encoding"], small.text], [undefined, '42["echo","short"]'], "short payload");
  }),
  feature("CORS", async (t) => {
    const headers = { origin: "http://origin.test" };
    const open = await socketio(t, "EIO=4&transport=polling", { headers }, "cors");
    const wrong = await socketio(t, "EIO=4&transport=nope", { headers }, "cors");
    t.equal([wrong.status, wrong.text], error(0), "error");
    for (const [name, answer] of [["open", open], ["error", wrong]]) {
      t.equal(answer.headers["access-control-allow-origin"], "http://origin.test", `allow-origin of ${name}`);
      t.equal(answer.headers["access-control-allow-credentials"], "true", `allow-credentials of ${name}`);
      t.match(answer.headers.vary, /\borigin\b/i, `vary of ${name}`);
    }
    const preflight = await socketio(
      t,
      "EIO=4&transport=polling",
      { method: "OPTIONS", headers: { ...headers, "access-control-request-method": "POST", "access-control-request-headers": "x-one" } },
      "cors",
    );
    t.equal([preflight.status, preflight.text], [204, ""], "preflight");
    t.equal(preflight.headers["access-control-allow-origin"], "http://origin.test", "allow-origin of preflight");
    t.equal(preflight.headers["access-control-allow-headers"], "x-one", "allow-headers");
    t.equal(preflight.headers["access-control-allow-methods"], "GET,HEAD,PUT,PATCH,POST,DELETE", "allow-methods");
  }),

  // ---- revision 3 --------------------------------------------------------------------------------
  feature("open packet of revision 3", async (t) => {
    const session = await Polling.open(t, { eio: 3 });
    t.match(session.sid, /^[A-Za-z0-9_-]{20}$/, "sid");
    t.equal([session.open.upgrades, session.open.pingInterval, session.open.pingTimeout], [["websocket"], 25_000, 20_000], "open packet");
    t.equal(session.first.headers["content-type"], "text/plain; charset=UTF-8", "content-type");
    const packets = session.rest.length > 0 ? session.rest : await session.packets();
    t.equal(packets, ["40"], "CONNECT without being asked");
  }),
  feature("text payloads of revision 3", async (t) => {
    const session = await (await Polling.open(t, { eio: 3, extra: { b64: "1" } })).connect();
    // Two UTF-16 units for the emoji.
    t.equal((await session.post('16:42["echo","€😀"]')).text, "ok", "answer");
    t.equal((await session.get()).text, '16:42["echo","€😀"]', "echo");
    await session.send('42["echo",1]', '42["echo",2]');
    t.equal((await session.get()).text, '12:42["echo",1]12:42["echo",2]', "two packets");
    t.equal(await session.call("ack", "x"), ["x"], "ack");
    await session.send("2");
    t.equal((await session.get()).text, "1:3", "pong");
    await session.send("2probe");
    t.equal((await session.get()).text, "1:3", "pong without data");
  }),
  feature("base64 payloads of revision 3", async (t) => {
    const session = await (await Polling.open(t, { eio: 3, extra: { b64: "1" } })).connect();
    await session.send('451-["echo",{"_placeholder":true,"num":0}]', "b4AQIDBA==");
    const answer = await session.get();
    t.equal(answer.headers["content-type"], "text/plain; charset=UTF-8", "content-type");
    let text = answer.text;
    if (!text.includes("b4")) text += (await session.get()).text;
    t.equal(text, '42:451-["echo",{"_placeholder":true,"num":0}]10:b4AQIDBA==', "echo");
  }),
  feature("binary payloads of revision 3", async (t) => {
    const session = await (await Polling.open(t, { eio: 3 })).connect();
    const header = '451-["echo",{"_placeholder":true,"num":0}]';
    const framed = (kind, data) => Buffer.concat([Buffer.from([kind, ...String(data.length).split("").map(Number), 0xff]), data]);
    const payload = Buffer.concat([framed(0, Buffer.from(header)), framed(1, Buffer.from([4, 0, 1, 0xff, 0x80]))]);
    const posted = await session.post(payload, { "content-type": "application/octet-stream" });
    t.equal([posted.status, posted.text], [200, "ok"], "answer");
    const answer = await session.get();
    t.equal(answer.headers["content-type"], "application/octet-stream", "content-type");
    t.equal(answer.body, payload, "echo");
    // Lengths of strings count bytes here.
    await session.post(framed(0, Buffer.from('42["echo","é€😀"]')), { "content-type": "application/octet-stream" });
    t.equal((await session.get()).text, '17:42["echo","é€😀"]', "echo of text");
    await session.send(`451-["echo","é",{"_placeholder":true,"num":0}]`, `b4${Buffer.alloc(300, 0xab).toString("base64")}`);
    t.equal(
      (await session.get()).body,
      Buffer.concat([
        framed(0, Buffer.from('451-["echo","é",{"_placeholder":true,"num":0}]')),
        framed(1, Buffer.concat([Buffer.from([4]), Buffer.alloc(300, 0xab)])),
      ]),
      "echo of 300 bytes",
    );
  }),
  feature("bad payloads of revision 3", async (t) => {
    for (const body of ["nonsense", "9999:4x", "2:", ""]) {
      const { session, reason } = await tagged(t, { eio: 3 });
      t.equal((await session.post(body)).text, "ok", `answer to ${JSON.stringify(body)}`);
      await reason("parse error", `reason after ${JSON.stringify(body)}`);
      await session.gone(t, `request after ${JSON.stringify(body)}`);
    }
  }),
  feature("close packet of revision 3", async (t) => {
    const { session, reason } = await tagged(t, { eio: 3 });
    const held = session.hold();
    await settle();
    t.equal((await session.post("1:1")).text, "ok", "answer to POST");
    t.equal((await held.answer).text, "1:6", "held poll");
    await reason("transport close");
  }),
  feature("ping timeout of revision 3", async (t) => {
    const { session, reason } = await tagged(t, { eio: 3, server: "short" });
    await session.send("2");
    t.equal((await session.get()).text, "1:3", "pong");
    const begun = performance.now();
    await reason("ping timeout");
    t.ok(performance.now() - begun > 1_200, "the timeout came before interval and timeout had passed");
  }),
  feature("namespaces of revision 3", async (t) => {
    const session = await (await Polling.open(t, { eio: 3 })).connect();
    await session.send("40/custom?token=abc&x=1,");
    t.equal(await session.packets(), ["40/custom,"], "reply");
    await session.send('42/custom,1["handshake"]');
    const [packet] = await session.packets();
    t.match(packet, /^43\/custom,1\[/, "acknowledgement");
    const [{ auth, query }] = JSON.parse(packet.slice(packet.indexOf("[")));
    t.equal([auth, query], [{ token: "abc", x: "1" }, {}], "auth and query");
    await session.send('42/custom,2["whoami"]');
    const [second] = await session.packets();
    t.equal(JSON.parse(second.slice(second.indexOf("[")))[0].id, `/custom#${session.sid}`, "id");
    t.equal((await session.call("whoami"))[0].id, session.sid, "id in the main namespace");
    await session.send("40/closed");
    t.equal(await session.packets(), ['44/closed,"no entry"'], "refusal");
    await session.send("40/admin");
    t.equal(await session.packets(), ['44/admin,{"code":"E_AUTH","need":["token"],"got":null}'], "refusal with data");
  }),
  feature("JSONP", async (t) => {
    for (const eio of [3, 4]) {
      const base = `EIO=${eio}&transport=polling&b64=1&j=7`;
      const frame = (packets) => (eio === 3 ? packets.map((packet) => `${packet.length}:${packet}`).join("") : packets.join(SEP));
      const open = await socketio(t, base);
      t.match(open.text, /^___eio\[7\]\("(.*)"\);$/, `open packet of revision ${eio}`);
      t.equal(open.headers["content-type"], "text/plain; charset=UTF-8", "content-type");
      const { sid } = JSON.parse(/\{.*?\}/.exec(JSON.parse(open.text.slice(10, -2)))[0]);
      const post = (payload) =>
        socketio(t, `${base}&sid=${sid}`, {
          method: "POST",
          body: `d=${encodeURIComponent(payload)}`,
          headers: { "content-type": "application/x-www-form-urlencoded" },
        });
      const poll = async () => (await socketio(t, `${base}&sid=${sid}`)).text;
      if (eio === 4) t.equal((await post("40")).text, "ok", "answer");
      // Node 2 puts the implicit CONNECT of revision 3 behind the open packet, Node 4 into the next poll; clients take both.
      if (!open.text.includes("2:40")) t.match(await poll(), eio === 4 ? /^___eio\[7\]\("40\{\\"sid\\":\\"[A-Za-z0-9_-]{20}\\"\}"\);$/ : /^___eio\[7\]\("2:40"\);$/, "CONNECT");
      t.equal((await post(frame(['42["echo","a+b\u2028é"]', '42["echo","two"]']))).text, "ok", "answer");
      const expected = JSON.stringify(frame(['42["echo","a+b\u2028é"]', '42["echo","two"]'])).replace("\u2028", "\\u2028");
      t.equal(await poll(), `___eio[7](${expected});`, "echo");
      // A line feed inside a JSON string travels as backslash, backslash, n.
      t.equal((await post(frame(['42["echo","a\\nb"]']).replaceAll("\\n", "\\\\n"))).text, "ok", "answer");
      t.equal(await poll(), `___eio[7](${JSON.stringify(frame(['42["echo","a\\nb"]']))});`, "echo with a line feed");
      const other = await socketio(t, `${base}&sid=${sid}`, { method: "POST", body: "x=1", headers: { "content-type": "application/x-www-form-urlencoded" } });
      t.equal(other.text, "ok", "answer to a form without d");
    }
  }),
];
