// Node's emitters as senders of the cluster suite: the commands of CONTRACT.md that need no server.
// GENERATION: 3 (socket.io-emitter) or 5 (@socket.io/redis-emitter).
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { unpack } from "../lib/codec.mjs";

const require = createRequire(import.meta.url);
const { REDIS_URL, KEY = "socket.io", GENERATION } = process.env;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function emitter() {
  if (GENERATION === "3") {
    return require("socket.io-emitter-3")(new (require("ioredis").Redis)(REDIS_URL), { key: KEY });
  }
  const client = require("redis-5").createClient({ url: REDIS_URL });
  await client.connect();
  return new (require("redis-emitter-5").Emitter)(client, { key: KEY });
}
const io = await emitter();

function operator(nsp, { rooms = [], except = [], flags = {} }) {
  // An emitter for each command: the old one keeps the rooms of a command that failed.
  let target = io.of(nsp);
  for (const room of rooms) target = target.to(room);
  for (const room of except) target = target.except(room);
  if (flags.local) throw new Error("unsupported");
  if (flags.volatile) target = target.volatile;
  // The old one has no such flag.
  if (flags.compress !== undefined && target.compress) target = target.compress(flags.compress);
  return target;
}

const commands = {
  emit: (nsp, command) => void operator(nsp, command).emit(command.event, ...command.args),
  join: (nsp, command) => void operator(nsp, command).socketsJoin(command.into),
  leave: (nsp, command) => void operator(nsp, command).socketsLeave(command.into),
  disconnect: (nsp, command) => void operator(nsp, command).disconnectSockets(command.close),
  serverEmit: (nsp, { event, args }) => void operator(nsp, {}).serverSideEmit(event, ...args),
};

function run({ id, do: name, nsp, ...command }) {
  try {
    if (!commands[name]) throw new Error("unsupported");
    commands[name](nsp, unpack(command));
    say({ id, ok: null });
  } catch (error) {
    say({ id, error: error.message });
  }
}

say({ listening: null });
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => run(JSON.parse(line)));
lines.on("close", () => process.exit(0));
