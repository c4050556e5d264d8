// The reference implementation of CONTRACT.md, on Node's own socket.io server.
// Read CONTRACT.md first: it is the text that counts, this file only shows one way to satisfy it.
//
// SOCKETIO=2 loads socket.io 2.5 instead of 4, which is not a server under test but tells what the
// old clients see from the server they were written for.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const env = process.env;
const legacy = env.SOCKETIO === "2";

const number = (name, fallback) => (env[name] ? Number(env[name]) : fallback);

const options = {
  pingInterval: number("PING_INTERVAL", 25_000),
  pingTimeout: number("PING_TIMEOUT", 20_000),
  upgradeTimeout: number("UPGRADE_TIMEOUT", 10_000),
  connectTimeout: number("CONNECT_TIMEOUT", 45_000),
  maxHttpBufferSize: number("MAX_HTTP_BUFFER_SIZE", 5_000_000),
  allowEIO3: env.ALLOW_EIO3 !== "0",
  allowUpgrades: env.ALLOW_UPGRADES !== "0",
  transports: env.TRANSPORTS ? env.TRANSPORTS.split(",") : ["polling", "websocket"],
  serveClient: false,
};
if (env.PARSER === "msgpack") options.parser = require("socket.io-msgpack-parser");
if (env.RECOVERY) options.connectionStateRecovery = { maxDisconnectionDuration: Number(env.RECOVERY) };
if (env.CORS_ORIGIN) options.cors = { origin: env.CORS_ORIGIN, credentials: true };

const http = createServer((_request, response) => {
  response.writeHead(404, { "content-type": "text/plain" });
  response.end("not found");
});
const io = legacy ? require("socket.io-2")(http, options) : new (require("socket.io-4").Server)(http, options);

// ---- namespaces ----------------------------------------------------------------------------------

const nsp = {
  main: io.of("/"),
  custom: io.of("/custom"),
  admin: io.of("/admin"),
  closed: io.of("/closed"),
  welcome: io.of("/welcome"),
  dynamic: io.of(/^\/dyn-\d+$/),
};

nsp.admin.use((socket, next) => {
  const token = socket.handshake.auth?.token ?? socket.handshake.query.token;
  if (token === "secret") return next();
  const error = new Error("not authorized");
  error.data = { code: "E_AUTH", need: ["token"], got: token ?? null };
  next(error);
});

nsp.closed.use((_socket, next) => next(new Error("no entry")));

nsp.welcome.use((socket, next) => {
  socket.steps = ["first"];
  setTimeout(next, 50);
});
nsp.welcome.use((socket, next) => {
  socket.steps.push("second");
  next();
});
nsp.welcome.on("connection", (socket) => {
  socket.emit("welcome", 1, socket.steps);
  socket.emit("welcome", 2, socket.steps);
});

for (const namespace of Object.values(nsp)) namespace.on("connection", onConnection);

// ---- handlers, the same in every namespace -------------------------------------------------------

// What is known of the sockets that were given a tag: tag -> { reason, rooms } once they are gone.
const gone = new Map();
const waiting = new Map();

function roomsOf(socket) {
  const all = legacy ? Object.keys(socket.rooms) : [...socket.rooms];
  return all.filter((room) => room !== socket.id).sort();
}

function fourBytes(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}

const HIDDEN = new Set(["EIO", "transport", "t", "sid", "b64", "j"]);

function to(target, rooms, except = []) {
  for (const room of [].concat(rooms)) target = target.to(room);
  for (const room of [].concat(except)) target = target.except(room);
  return target;
}

function onConnection(socket) {
  const namespace = socket.nsp;

  socket.use((packet, next) => {
    const event = Array.isArray(packet) ? packet[0] : undefined;
    next(event === "forbidden" ? new Error("event refused") : undefined);
  });
  // Node also reports packets that cannot be read here, just before it closes the connection.
  socket.on("error", ({ message }) => {
    if (message === "event refused") socket.emit("refused", message);
  });

  // messages and acknowledgements
  socket.on("echo", (...args) => socket.emit("echo", ...args));
  socket.on("ack", (...args) => args.pop()(...args));
  socket.on("ask", (event, ...args) => {
    socket.emit(event, ...args, (...reply) => socket.emit("answer", ...reply));
  });
  socket.on("ask-timeout", (ms, event) => {
    socket.timeout(ms).emit(event, (error) => socket.emit("ask-timeout", error ? "timeout" : "reply"));
  });
  socket.on("volatile", (event, ...args) => socket.volatile.emit(event, ...args));

  // who am I
  socket.on("whoami", (reply) =>
    reply({
      id: socket.id,
      nsp: namespace.name,
      protocol: legacy ? 3 : socket.conn.protocol,
      transport: socket.conn.transport.name,
      recovered: socket.recovered ?? false,
    }),
  );
  socket.on("handshake", (reply) => {
    const { auth, query, headers, address } = socket.handshake;
    reply({
      auth: auth ?? {},
      query: Object.fromEntries(Object.entries(query).filter(([key]) => !HIDDEN.has(key))),
      header: headers["x-interop"] ?? null,
      address,
    });
  });

  // rooms
  socket.on("join", async (rooms, reply) => {
    await new Promise((done) => {
      if (legacy) return socket.join(rooms, done);
      socket.join(rooms);
      done();
    });
    reply(roomsOf(socket));
  });
  socket.on("leave", async (room, reply) => {
    await new Promise((done) => {
      if (legacy) return socket.leave(room, done);
      socket.leave(room);
      done();
    });
    reply(roomsOf(socket));
  });
  socket.on("rooms", (reply) => reply(roomsOf(socket)));
  socket.on("members", async (room, reply) => {
    if (legacy) return namespace.in(room).clients((_error, ids) => reply(ids.sort()));
    const sockets = await namespace.in(room).fetchSockets();
    reply(sockets.map(({ id }) => id).sort());
  });
  socket.on("to-room", ({ rooms, except, self, event, args }, reply) => {
    to(self ? namespace : socket, rooms, except).emit(event, ...args);
    reply();
  });
  socket.on("broadcast", (event, args, reply) => {
    socket.broadcast.emit(event, ...args);
    reply();
  });
  socket.on("to-id", (id, event, args, reply) => {
    namespace.to(id).emit(event, ...args);
    reply();
  });
  socket.on("ask-room", ({ room, timeout, event, args }, reply) => {
    namespace
      .to(room)
      .timeout(timeout)
      .emit(event, ...args, (error, replies) => reply({ timedOut: Boolean(error), replies: replies.sort() }));
  });
  socket.on("sockets-join", (room, target, reply) => {
    namespace.in(room).socketsJoin(target);
    reply();
  });
  socket.on("sockets-leave", (room, target, reply) => {
    namespace.in(room).socketsLeave(target);
    reply();
  });
  socket.on("disconnect-sockets", (room, close, reply) => {
    namespace.in(room).disconnectSockets(close);
    reply();
  });

  // numbered messages both ways
  let timer;
  let sent = 0;
  let seen = [];
  let wrongBinary = 0;
  let transports = { polling: 0, websocket: 0 };
  socket.on("stream-start", (ms) => {
    const next = () => {
      const i = sent++;
      if (i % 2) socket.emit("down", i, fourBytes(i));
      else socket.emit("down", i);
    };
    next();
    timer = setInterval(next, ms);
  });
  socket.on("stream-stop", (reply) => {
    clearInterval(timer);
    reply(sent);
    sent = 0;
  });
  socket.on("up", (i, binary) => {
    seen.push(i);
    transports[socket.conn.transport.name] += 1;
    if (i % 2 ? !(Buffer.isBuffer(binary) && binary.equals(fourBytes(i))) : binary !== undefined) wrongBinary += 1;
  });
  socket.on("up-report", (reply) => {
    reply({ seen, wrongBinary, transports });
    seen = [];
    wrongBinary = 0;
    transports = { polling: 0, websocket: 0 };
  });
  socket.on("burst", (n) => {
    for (let i = 0; i < n; i++) {
      if (i % 2) socket.emit("burst", i, fourBytes(i));
      else socket.emit("burst", i);
    }
  });

  // the end
  socket.on("tag", (tag, reply) => {
    socket.tag = tag;
    reply();
  });
  socket.on("reason-of", (tag, reply) => {
    if (gone.has(tag)) return reply(gone.get(tag));
    waiting.set(tag, [...(waiting.get(tag) ?? []), reply]);
  });
  socket.on("kick", () => socket.disconnect(false));
  socket.on("kick-hard", () => socket.disconnect(true));
  socket.on("drop-engine", () => socket.conn.close());
  let last = [];
  socket.on("disconnecting", () => {
    last = roomsOf(socket);
  });
  socket.on("disconnect", (reason) => {
    clearInterval(timer);
    if (socket.tag === undefined) return;
    const entry = { reason, rooms: last };
    gone.set(socket.tag, entry);
    for (const reply of waiting.get(socket.tag) ?? []) reply(entry);
    waiting.delete(socket.tag);
  });
}

// ---- life of the process -------------------------------------------------------------------------

http.listen(number("PORT", 0), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`);
});

process.on("SIGTERM", () => {
  io.close(() => process.exit(0));
  // Browsers keep connections open after an answer, and open some to have them; Node 18 waits for all of these.
  http.prependListener("request", (_request, response) => {
    response.shouldKeepAlive = false;
  });
  setTimeout(() => http.closeAllConnections(), 500);
  setTimeout(() => process.exit(1), 4_000).unref();
});
