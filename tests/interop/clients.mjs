// The clients: how to start each of them, and what it can and cannot do.
import { createRequire } from "node:module";
import { jsDriver } from "./drivers/js.mjs";
import { FEATURES } from "./features.mjs";
import { HTTP_CASES } from "./raw/http.mjs";
import { WS_CASES } from "./raw/ws.mjs";

const require = createRequire(import.meta.url);
const version = (name) => require(`${name}/package.json`).version;

const ALL = ["polling", "websocket", "upgrade"];

const JS_REASONS = {
  serverDisconnect: "io server disconnect",
  transport: ["transport close", "transport error"],
  pingTimeout: ["ping timeout"],
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

const js = (major, eio, caps) => ({
  label: `socket.io-client ${version(`socket.io-client-${major}`)}`,
  eio,
  transports: ALL,
  reasons: JS_REASONS,
  caps: { ...JS_CAPS, ...caps },
  driver: jsDriver(major),
  features: FEATURES,
});

export const CLIENTS = {
  js1: js(1, 3, {
    /** its polling encodes UTF-8 twice and expects the same; every later server, Node's too, does it once */
    doubleEncoding: true,
    /** the id it shows in other namespaces is that of the main one */
    mainIdOnly: true,
  }),
  js2: js(2, 3, {}),
  js3: js(3, 4, { msgpack: true }),
  js4: js(4, 4, { msgpack: true, recovery: true }),
  "raw-http": { label: "raw HTTP", eio: 4, transports: [""], features: HTTP_CASES },
  "raw-ws": { label: "raw WebSocket", eio: 4, transports: [""], features: WS_CASES },
};
