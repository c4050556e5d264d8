// Who takes part: nodes and emitters of every make, and the clusters they form.
import { fileURLToPath } from "node:url";

const script = (name) => [process.execPath, fileURLToPath(new URL(name, import.meta.url))];

/** kind: what deviations are listed by. `clients`: the versions of the two clients at this node. */
function node(kind, name, env, clients = [4, 2]) {
  return { kind, name, env, clients, command: script("node.mjs"), node: true };
}

function emitter(kind, name, env) {
  return { kind, name, env, command: script("emitter.mjs"), node: false };
}

const FIFTH = { GENERATION: "5" };
const node8 = (name, env) => node("n8", name, { GENERATION: "8", ...env });
const sharded8 = (name, env) => ({ ...node8(name, env), kind: "s8" });
const node7 = node("n7", "node 7.2", { GENERATION: "7" });
const node6 = node("n6", "node 6.1", { GENERATION: "6" });
/** socket.io 2 knows no clients of its future. */
const node5 = (name) => node("n5", name, FIFTH, [2, 2]);
const emitter5 = emitter("e5", "emitter 5.1", { GENERATION: "5" });
const emitter3 = emitter("e3", "emitter 3.2", { GENERATION: "3" });

const sharded = (mode) => ({ DIALECT: "sharded", MODE: mode });

/** All clusters, with our own parties where there are programs for them. */
export function clusters({ nodeBin, emitBin }) {
  const rust = (name, env) => (nodeBin ? [{ kind: "rust", name, env, clients: [4, 2], command: [nodeBin], node: true }] : []);
  const ours = (env) => (emitBin ? [{ kind: "eo", name: "sio-emit", env, emit: emitBin, node: false }] : []);
  return [
    {
      name: "modern",
      title: "classic dialect, adapters that understand everything",
      env: {},
      parties: [
        node8("node 8.3"),
        node8("node 8.3 ioredis", { CLIENT: "ioredis", SPECIFIC: "1" }),
        node7,
        ...rust("rust A"),
        ...rust("rust B", { SPECIFIC: "1" }),
        emitter5,
        emitter3,
        ...ours(),
      ],
    },
    {
      name: "sixth",
      title: "classic dialect, with socket.io-redis 6",
      env: {},
      parties: [node6, node8("node 8.3"), ...rust("rust A"), ...rust("rust B"), emitter5, ...ours()],
    },
    {
      name: "fifth",
      title: "classic dialect, with socket.io 2 and socket.io-redis 5",
      env: {},
      parties: [
        node5("node 5.4 A"),
        node5("node 5.4 B"),
        node8("node 8.3"),
        ...rust("rust A"),
        ...rust("rust B"),
        emitter5,
        emitter3,
        ...ours(),
      ],
    },
    ...["dynamic", "dynamic-private", "static"].map((mode) => ({
      name: { dynamic: "sharded", "dynamic-private": "private", static: "static" }[mode],
      title: `sharded dialect, mode ${mode}`,
      env: sharded(mode),
      mode,
      parties: [
        sharded8("node 8.3"),
        sharded8("node 8.3 ioredis", { CLIENT: "ioredis" }),
        ...rust("rust A"),
        ...(mode === "dynamic" ? rust("rust B") : []),
        ...ours(sharded(mode)),
      ],
    })),
  ];
}

/** The clusters of the failure scenarios. `late` are the nodes that are added, and lost. */
export function failing({ nodeBin }) {
  const rust = (name) => (nodeBin ? [{ kind: "rust", name, env: {}, clients: [4, 2], command: [nodeBin], node: true }] : []);
  return [
    {
      name: "classic",
      title: "classic dialect",
      env: {},
      parties: [node8("node 8.3"), node8("node 8.3 ioredis", { CLIENT: "ioredis" }), node7, ...rust("rust A"), ...rust("rust B")],
      late: [node8("late node 8.3"), ...rust("late rust")],
    },
    {
      name: "sharded",
      title: "sharded dialect",
      mode: "dynamic",
      env: sharded("dynamic"),
      parties: [sharded8("node 8.3"), sharded8("node 8.3 ioredis", { CLIENT: "ioredis" }), ...rust("rust A"), ...rust("rust B")],
      late: [sharded8("late node 8.3"), ...rust("late rust")],
    },
  ];
}
