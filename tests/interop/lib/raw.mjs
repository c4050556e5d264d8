// HTTP requests and WebSockets without any Socket.IO library, for the cases that no well-behaved client can produce.
import { request } from "node:http";
import { connect } from "node:net";
import { once } from "node:events";
import { WebSocket } from "ws";
import { Difference, show, within } from "./check.mjs";

const BOUND = 20_000;
const SEPARATOR = "\x1e";

/** One HTTP request on a connection of its own: { status, headers, body, text, json() }. */
export function http(url, { method = "GET", headers = {}, body, chunked = false } = {}) {
  const sent = new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent: false }, (incoming) => {
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const whole = Buffer.concat(chunks);
        resolve({ status: incoming.statusCode, headers: incoming.headers, body: whole, text: whole.toString() });
      });
    });
    outgoing.on("error", reject);
    if (chunked) outgoing.write(body);
    outgoing.end(chunked ? undefined : body);
  });
  return within(BOUND, sent, `response to ${method} ${url}`);
}

/** A request whose answer is not awaited at once; `abort()` gives it up, `answer` is the promise. */
export function pending(url, options) {
  const outgoing = request(url, { ...options, agent: false });
  const answer = once(outgoing, "response").then(async ([incoming]) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    return { status: incoming.statusCode, headers: incoming.headers, body, text: body.toString() };
  });
  answer.catch(() => {});
  outgoing.on("error", () => {});
  outgoing.flushHeaders();
  const bounded = within(BOUND, answer, `response to ${url}`);
  bounded.catch(() => {});
  return { outgoing, answer: bounded, abort: () => outgoing.destroy() };
}

/** Sends text on a TCP connection and resolves to everything that comes until the other side closes. */
export async function tcp(port, text) {
  const socket = connect(port, "127.0.0.1");
  const chunks = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.write(text);
  try {
    await within(BOUND, once(socket, "close"), "end of the TCP connection");
  } finally {
    socket.destroy();
  }
  return Buffer.concat(chunks).toString("latin1");
}

const query = (parameters) => new URLSearchParams(parameters).toString();

// Engine.IO 3 counts UTF-16 units.
const encode3 = (packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

function decode3(text) {
  const packets = [];
  let at = 0;
  while (at < text.length) {
    const colon = text.indexOf(":", at);
    const length = Number(text.slice(at, colon));
    if (colon < 0 || !Number.isInteger(length)) throw new Difference(`payload of revision 3: got ${show(text)}`);
    packets.push(text.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return packets;
}

/** An Engine.IO session over polling. */
export class Polling {
  static async open(t, { url, server = "main", eio = 4, extra = {}, headers } = {}) {
    const session = new Polling();
    const base = url ?? (await t.servers.get(server)).url;
    session.eio = eio;
    session.headers = headers;
    session.first = await http(`${base}/socket.io/?${query({ EIO: eio, transport: "polling", ...extra })}`, { headers });
    t.equal(session.first.status, 200, "status of the handshake");
    const [open, ...rest] = session.decode(session.first.text);
    t.equal(open[0], "0", "type of the first packet");
    session.open = JSON.parse(open.slice(1));
    session.sid = session.open.sid;
    session.rest = rest;
    session.base = base;
    session.url = `${base}/socket.io/?${query({ EIO: eio, transport: "polling", sid: session.sid, ...extra })}`;
    return session;
  }

  decode(text) {
    return this.eio === 3 ? decode3(text) : text.split(SEPARATOR);
  }

  encode(packets) {
    return this.eio === 3 ? encode3(packets) : packets.join(SEPARATOR);
  }

  get() {
    return http(this.url, { headers: this.headers });
  }

  hold() {
    return pending(this.url);
  }

  /** The packets of the next poll; heartbeats are answered and left out. */
  async packets() {
    const answer = await this.get();
    if (answer.status !== 200) throw new Difference(`poll: expected status 200, got ${answer.status} ${show(answer.text)}`);
    const packets = this.decode(answer.text);
    if (this.eio === 4 && packets.includes("2")) await this.send("3");
    const rest = packets.filter((packet) => packet !== "2");
    return rest.length > 0 ? rest : this.packets();
  }

  post(body, headers = { "content-type": "text/plain;charset=UTF-8" }) {
    return http(this.url, { method: "POST", body, headers });
  }

  async send(...packets) {
    const answer = await this.post(this.encode(packets));
    if (answer.status !== 200 || answer.text !== "ok") {
      throw new Difference(`POST: expected 200 ok, got ${answer.status} ${show(answer.text)}`);
    }
  }

  /** Joins the main namespace. */
  async connect() {
    if (this.eio === 4) await this.send("40");
    const packets = [...this.rest];
    if (packets.length === 0) packets.push(...(await this.packets()));
    if (!packets[0]?.startsWith("40")) throw new Difference(`reply to CONNECT: expected 40, got ${show(packets)}`);
    return this;
  }

  /** The arguments of an acknowledgement; nothing else may come before it. */
  async call(event, ...args) {
    await this.send(`427${JSON.stringify([event, ...args])}`);
    const [packet] = await this.packets();
    if (!packet.startsWith("437[")) throw new Difference(`acknowledgement of ${event}: got ${show(packet)}`);
    return JSON.parse(packet.slice(3));
  }

  /** Whether requests for the session are refused as unknown. */
  async gone(t, what) {
    const answer = await this.get();
    t.equal([answer.status, answer.text], [400, '{"code":1,"message":"Session ID unknown"}'], what);
  }
}

/**
 * A WebSocket whose frames are queued: text as string, binary as Buffer. Pings of the server (revision 4) are answered
 * and left out, unless the option `pings` asks for them.
 */
export class Socket {
  #queue = [];
  #waiting = [];

  static async dial(t, { url, server = "main", eio = 4, sid, extra = {}, path = "/socket.io/", options, pings = false } = {}) {
    const base = url ?? (await t.servers.get(server)).url;
    const parameters = { EIO: eio, transport: "websocket", ...(sid ? { sid } : {}), ...extra };
    const socket = new Socket();
    socket.eio = eio;
    socket.base = base;
    socket.ws = new WebSocket(`${base.replace("http", "ws")}${path}?${query(parameters)}`, options);
    socket.ws.on("message", (data, binary) => {
      const frame = binary ? data : data.toString();
      if (frame === "2" && eio === 4 && !pings) socket.send("3");
      else socket.#push({ frame });
    });
    socket.closing = new Promise((resolve) => {
      socket.ws.on("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        socket.#push({ closed: code });
      });
    });
    socket.ws.on("error", (error) => {
      socket.error = error;
    });
    t.defer(() => socket.ws.terminate());
    const opened = new Promise((resolve, reject) => {
      socket.ws.once("open", resolve);
      socket.ws.once("unexpected-response", (_request, response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => {
          socket.refused = { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() };
          resolve();
        });
      });
      socket.ws.once("error", reject);
    });
    await within(BOUND, opened, "WebSocket handshake");
    return socket;
  }

  /** Opens a session: the open packet is in `open`. */
  static async open(t, options) {
    const socket = await Socket.dial(t, options);
    const first = await socket.next();
    if (typeof first !== "string" || first[0] !== "0") throw new Difference(`open packet: got ${show(first)}`);
    socket.open = JSON.parse(first.slice(1));
    socket.first = first;
    return socket;
  }

  /** A session that joined the main namespace. */
  static async connected(t, options) {
    const socket = await Socket.open(t, options);
    if (socket.eio === 4) socket.send("40");
    const reply = await socket.next();
    t.match(reply, socket.eio === 4 ? /^40\{"sid":"[A-Za-z0-9_-]{20}"(,"pid":"[^"]+")?\}$/ : /^40$/, "reply to CONNECT");
    return socket;
  }

  #push(entry) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(entry);
    else this.#queue.push(entry);
  }

  #take(bound, what) {
    if (this.#queue.length > 0) return Promise.resolve(this.#queue.shift());
    return within(bound, new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  send(...frames) {
    for (const frame of frames) this.ws.send(frame);
  }

  async next(bound = BOUND) {
    const { frame, closed } = await this.#take(bound, "next frame");
    if (closed !== undefined) throw new Difference(`next frame: the WebSocket was closed with ${closed}`);
    return frame;
  }

  /** Resolves to the close code; any frame before it is a difference. */
  async ended(after = "", bound = BOUND) {
    const what = `end of the WebSocket${after && ` after ${after}`}`;
    const { frame, closed } = await this.#take(bound, what);
    if (closed === undefined) throw new Difference(`${what}: got the frame ${show(frame)}`);
    return closed;
  }

  async call(event, ...args) {
    this.send(`427${JSON.stringify([event, ...args])}`);
    const reply = await this.next();
    if (typeof reply !== "string" || !reply.startsWith("437[")) throw new Difference(`acknowledgement of ${event}: got ${show(reply)}`);
    return JSON.parse(reply.slice(3));
  }
}
