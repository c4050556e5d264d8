// A node of the cluster suite on Node's own packages, one script for all generations of adapters.
// CONTRACT.md is the text that counts.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pack, unpack } from "../lib/codec.mjs";

const require = createRequire(import.meta.url);
const { REDIS_URL, NAME, DIALECT = "classic", KEY = "socket.io", MODE = "dynamic", SPECIFIC, CLIENT = "redis" } = process.env;
const generation = Number(process.env.GENERATION ?? 8);
const requestsTimeout = Number(process.env.REQUESTS_TIMEOUT ?? 5_000);
const legacy = generation === 5;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const note = (text) => say({ note: text });

// ---- the server ----------------------------------------------------------------------------------

/** Redis comes back in the failure scenarios: try again soon, and do not end over it. */
const RETRY = 50;

async function redisClient() {
  if (CLIENT === "ioredis") {
    const { Redis } = require("ioredis");
    const client = new Redis(REDIS_URL, { retryStrategy: () => RETRY, maxRetriesPerRequest: null });
    client.on("error", () => {});
    return client;
  }
  const client = require("redis-5").createClient({ url: REDIS_URL, socket: { reconnectStrategy: () => RETRY } });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function adapter() {
  if (generation <= 6) {
    const create = generation === 5 ? require("socket.io-redis-5") : require("socket.io-redis-6").createAdapter;
    return create(REDIS_URL, { key: KEY, requestsTimeout, retry_strategy: () => RETRY });
  }
  const clients = [await redisClient(), await redisClient()];
  if (DIALECT === "sharded") {
    const { createShardedAdapter } = require("redis-adapter-8");
    return createShardedAdapter(...clients, { channelPrefix: KEY, subscriptionMode: MODE });
  }
  const { createAdapter } = require(generation === 7 ? "redis-adapter-7" : "redis-adapter-8");
  return createAdapter(...clients, { key: KEY, requestsTimeout, publishOnSpecificResponseChannel: SPECIFIC === "1" });
}

// Commands that were on the way to Redis when it went fail, and the adapters look after none of them.
process.on("unhandledRejection", (error) => note(`unhandled: ${error.message}`));

const http = createServer((_request, response) => response.writeHead(404).end());
const io = legacy
  ? require("socket.io-2")(http, { serveClient: false, adapter: await adapter() })
  : new (require("socket.io-4").Server)(http, { serveClient: false, allowEIO3: true, adapter: await adapter() });

const heard = new Map();
for (const name of ["/", "/custom"]) {
  const namespace = io.of(name);
  heard.set(name, []);
  // Old adapters report what they do not understand here, and nobody listening would end the process.
  namespace.adapter.on?.("error", (error) => note(`adapter: ${error.message}`));
  if (legacy) continue;
  const remember = (...packet) => heard.get(name).push(packet);
  namespace.on("note", (...args) => remember("note", ...args));
  namespace.on("question", (token, reply) => {
    remember("question", token);
    reply?.(`${NAME}:${token}`);
  });
  namespace.on("mute", (...args) => remember("mute", ...args.filter((arg) => typeof arg !== "function")));
}

// ---- commands ------------------------------------------------------------------------------------

/** The namespace, or the socket, with rooms, exceptions and flags applied. */
function operator(from, { rooms = [], except = [], flags = {} }) {
  let target = from;
  for (const room of rooms) target = target.to(room);
  for (const room of except) target = target.except(room);
  if (flags.volatile) target = target.volatile;
  if (flags.local) target = target.local;
  if (flags.compress !== undefined) target = target.compress(flags.compress);
  return target;
}

function unsupported() {
  throw new Error("unsupported");
}

/** A request to other nodes: what it gave, or that it did not come to its end. */
async function request(promise, name) {
  try {
    return { complete: true, [name]: await promise };
  } catch {
    return { complete: false, [name]: [] };
  }
}

const socketOf = (namespace, sid) => {
  const socket = legacy ? namespace.connected[sid] : namespace.sockets.get(sid);
  if (!socket) throw new Error(`no socket ${sid} here`);
  return socket;
};

const details = ({ id, rooms, data, handshake }) => ({
  id,
  rooms: [...rooms],
  data,
  handshake: { ...handshake, sessionStore: undefined },
});

const shared = {
  emit: (namespace, command) => void operator(namespace, command).emit(command.event, ...command.args),
  from: (namespace, command) => {
    const socket = socketOf(namespace, command.sid);
    // Without a room this is a broadcast only if one says so.
    void operator(socket.broadcast, command).emit(command.event, ...command.args);
  },
  heard: (namespace) => heard.get(namespace.name).splice(0),
  load: (namespace, { rooms, event, every }) => {
    const filler = "x".repeat(100);
    load = { emitted: 0 };
    load.timer = setInterval(() => operator(namespace, { rooms }).emit(event, NAME, load.emitted++, filler), every);
  },
  emitted: () => load.emitted,
  unload: () => {
    clearInterval(load.timer);
    return load.emitted;
  },
  crowd: (namespace, { rooms, event, count }) => {
    for (let i = 0; i < count; i++) operator(namespace, { rooms }).emit(event, NAME, i);
  },
};
let load;

const modern = {
  ask: (namespace, command) =>
    new Promise((resolve) => {
      operator(namespace, command)
        .timeout(command.timeout)
        .emit(command.event, ...command.args, (error, replies) => resolve({ complete: !error, replies }));
    }),
  join: (namespace, command) => void operator(namespace, command).socketsJoin(command.into),
  leave: (namespace, command) => void operator(namespace, command).socketsLeave(command.into),
  disconnect: (namespace, command) => void operator(namespace, command).disconnectSockets(command.close),
  fetch: (namespace, command) =>
    request(
      // The sharded adapter knows no other way to be told how long to wait.
      operator(namespace, command)
        .timeout(requestsTimeout)
        .fetchSockets()
        .then((sockets) => sockets.map(details)),
      "sockets",
    ),
  remote: async (namespace, { sid, acts }) => {
    const [socket] = await namespace.in(sid).fetchSockets();
    if (!socket) throw new Error(`no socket ${sid} in the cluster`);
    for (const { act, event, args, into, close } of acts) {
      if (act === "emit") socket.emit(event, ...args);
      else if (act === "join") socket.join(into);
      else if (act === "leave") into.forEach((room) => socket.leave(room));
      else socket.disconnect(close);
    }
  },
  allRooms: (namespace) =>
    request(
      namespace.adapter.allRooms().then((rooms) => [...rooms]),
      "rooms",
    ),
  count: (namespace) => namespace.adapter.serverCount?.() ?? unsupported(),
  serverEmit: (namespace, { event, args }) => void namespace.serverSideEmit(event, ...args),
  serverAsk: (namespace, { event, args }) =>
    new Promise((resolve) => {
      namespace.serverSideEmit(event, ...args, (error, replies) => resolve({ complete: !error, replies: replies ?? [] }));
    }),
  put: (namespace, { sid, into, data }) => {
    const socket = socketOf(namespace, sid);
    if (data !== undefined) socket.data = data;
    if (into.length) socket.join(into);
  },
  local: (namespace) => [...namespace.sockets.values()].map(({ id, rooms }) => ({ id, rooms: [...rooms] })),
};

const answered = (ask) => new Promise((resolve) => ask((error) => resolve({ complete: !error })));

const old = {
  put: (namespace, { sid, into }) => new Promise((done) => socketOf(namespace, sid).join(into, done)),
  local: (namespace) =>
    Object.values(namespace.connected).map(({ id, rooms }) => ({ id, rooms: Object.keys(rooms) })),
  allRooms: (namespace) =>
    new Promise((resolve) => {
      namespace.adapter.allRooms((error, rooms) => resolve({ complete: !error, rooms: error ? [] : rooms }));
    }),
  fetch: (namespace, { rooms }) =>
    new Promise((resolve) => {
      namespace.adapter.clients(rooms, (error, ids) =>
        resolve({ complete: !error, sockets: error ? [] : ids.map((id) => ({ id })) }),
      );
    }),
  legacyJoin: ({ adapter }, { sid, room }) => answered((done) => adapter.remoteJoin(sid, room, done)),
  legacyLeave: ({ adapter }, { sid, room }) => answered((done) => adapter.remoteLeave(sid, room, done)),
  legacyDisconnect: ({ adapter }, { sid }) => answered((done) => adapter.remoteDisconnect(sid, false, done)),
};

const commands = { ...shared, ...(legacy ? old : modern) };

async function run({ id, do: name, nsp, ...command }) {
  try {
    const result = await (commands[name] ?? unsupported)(io.of(nsp), unpack(command));
    say({ id, ok: pack(result ?? null) });
  } catch (error) {
    say({ id, error: error.message });
  }
}

http.listen(0, "127.0.0.1", () => {
  say({ listening: `http://127.0.0.1:${http.address().port}` });
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => run(JSON.parse(line)));
  lines.on("close", () => {
    io.close(() => process.exit(0));
    setTimeout(() => process.exit(0), 1_000);
  });
});
