// The clients: how to start each of them, and what it can and cannot do.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { browserDriver } from "./drivers/browser.mjs";
import { jsDriver } from "./drivers/js.mjs";
import { lineDriver } from "./drivers/line.mjs";
import { FEATURES } from "./features.mjs";
import { ENGINE_CASES } from "./raw/engine.mjs";
import { HTTP_CASES } from "./raw/http.mjs";
import { WS_CASES } from "./raw/ws.mjs";
import { RUST_FEATURES } from "./rust-features.mjs";

const require = createRequire(import.meta.url);
const version = (name) => require(`${name}/package.json`).version;

const ALL = ["polling", "websocket", "upgrade"];

const JS_REASONS = {
  serverDisconnect: "io server disconnect",
  transport: ["transport close", "transport error"],
  pingTimeout: ["ping timeout"],
  /** at the server, when the client leaves its only namespace */
  leaving: ["client namespace disconnect"],
};

const JS_CAPS = {
  namespaces: true,
  multiplex: true,
  headers: true,
  base64: true,
  midstream: true,
  reconnect: true,
  closeEngine: true,
  pingTimeout: true,
};

/** Why a client lacks what others can, where that is not plain from the name. */
const SINCE_4_6 = { recovery: "clients have connection state recovery since 4.6" };
const JS_1_LACKS = { ...SINCE_4_6, msgpack: "clients take a parser since 2.0" };
const JS_2_LACKS = {
  ...SINCE_4_6,
  msgpack: "clients of 2.x call parsers of their own time, whose packets of types 0, 1 and 4 are JSON: no server of 3 or 4 reads them",
};
const PYTHON_LACKS = {
  recovery: "the library has no connection state recovery",
  base64: "the library has no option to send binary as text",
  midstream: "the upgrade is over before the library lets anything be sent",
};

const js = (major, eio, caps, lacks) => ({
  label: `socket.io-client ${version(`socket.io-client-${major}`)}`,
  eio,
  /** may run against socket.io 2 */
  legacy: eio === 3,
  transports: ALL,
  reasons: JS_REASONS,
  caps: { ...JS_CAPS, ...caps },
  lacks,
  driver: () => jsDriver(major),
  features: FEATURES,
});

const engine = (major, eio) => ({
  label: `engine.io-client ${version(`engine.io-client-${major}`)}`,
  eio,
  transports: ALL,
  features: ENGINE_CASES,
});

const PYTHON_CAPS = {
  namespaces: true,
  multiplex: true,
  headers: true,
  reconnect: true,
  closeEngine: true,
  pingTimeout: true,
  msgpack: true,
  /** the upgrade is over before anything else is sent */
  upgradesFirst: true,
  /** acknowledges whatever asks for it, whether anybody listens or not */
  alwaysAnswers: true,
  /** refuses polling payloads of more than 16 packets */
  fewPackets: true,
  closeIsFinal: true,
  /** leaves all its namespaces or none */
  leavesAll: true,
};

const python = (label, args, features) => ({
  label,
  eio: 4,
  transports: ALL,
  reasons: {
    serverDisconnect: "server disconnect",
    transport: ["transport close", "transport error", "server disconnect"],
    pingTimeout: ["ping timeout", "transport error"],
    // DISCONNECT and the end of the connection come in one payload, or the first is dropped; with msgpack it has
    // `data: null`, which is not valid.
    leaving: ["client namespace disconnect", "transport close", "forced close"],
  },
  caps: PYTHON_CAPS,
  lacks: PYTHON_LACKS,
  driver: ({ python: program }) => lineDriver(program, [fileURLToPath(new URL("drivers/python.py", import.meta.url)), ...args]),
  features,
  unavailable: ({ python: program }) => (program ? undefined : "needs --python PATH"),
});

export const CLIENTS = {
  js1: js(
    1,
    3,
    {
      /** its polling encodes UTF-8 twice and expects the same; every later server, Node's too, does it once */
      doubleEncoding: true,
      /** the id it shows in other namespaces is that of the main one */
      mainIdOnly: true,
    },
    JS_1_LACKS,
  ),
  js2: js(2, 3, {}, JS_2_LACKS),
  js3: js(3, 4, { msgpack: true }, SINCE_4_6),
  js4: js(4, 4, { msgpack: true, recovery: true }),
  browser: {
    label: `Chromium, socket.io-client ${version("socket.io-client-4")}`,
    eio: 4,
    transports: ALL,
    reasons: JS_REASONS,
    caps: {
      ...JS_CAPS,
      headers: "http",
      msgpack: true,
      recovery: true,
      /** each message crosses two process boundaries on its way to the suite */
      slow: true,
    },
    driver: browserDriver,
    features: FEATURES,
    unavailable: ({ chromium }) => (existsSync(chromium) ? undefined : `no browser at ${chromium} (--chromium PATH)`),
  },
  python: python("python-socketio asyncio", [], FEATURES),
  // A thread for each message that comes in: their order, also that of attachments, is not kept.
  "python-sync": python(
    "python-socketio threads",
    ["--sync"],
    FEATURES.filter(({ name }) =>
      [
        "connect",
        "query and headers",
        "auth",
        "unknown namespace",
        "middleware errors",
        "middleware accepts",
        "event middleware",
        "reconnection after a cut",
        "client leaves the namespace",
        "server disconnects the socket",
        "heartbeat keeps the connection",
        "ping timeout at the server",
      ].includes(name),
    ),
  ),
  rust: {
    label: "rust_socketio 0.6.0",
    eio: 4,
    transports: ALL,
    reasons: { ...JS_REASONS },
    caps: { namespaces: true, headers: true },
    driver: ({ rustClient }) => lineDriver(rustClient, []),
    features: RUST_FEATURES,
    unavailable: ({ "rust-client": program }) => (program ? undefined : "needs --rust-client PATH, two minutes of build"),
  },
  engine3: engine(3, 3),
  engine6: engine(6, 4),
  "raw-http": { label: "raw HTTP", eio: 4, transports: [""], features: HTTP_CASES },
  "raw-ws": { label: "raw WebSocket", eio: 4, transports: [""], features: WS_CASES },
};
