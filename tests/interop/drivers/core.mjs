// Runs socket.io-client (any major version) for the suite. Used in Node and, as plain text, inside the browser page:
// so it imports nothing and uses nothing that only one of them has.
//
// `library(parser)` returns the library to use with that parser (or with the default one) and options it needs, `major`
// is its major version, `send(message)` hands an event to the suite, `toBinary` and `fromBinary` convert between base64
// and what the platform calls binary data (`fromBinary` returns undefined for anything else).
export function createCore({ library, major, send, toBinary, fromBinary }) {
  const oldProtocol = major < 3;
  const open = new Map();

  const pack = (value) => {
    if (value === null || typeof value !== "object") return value;
    const binary = fromBinary(value);
    if (binary !== undefined) return { $bin: binary };
    if (Array.isArray(value)) return value.map(pack);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]));
  };
  const unpack = (value) => {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(unpack);
    if (typeof value.$bin === "string") return toBinary(value.$bin);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpack(inner)]));
  };
  const queryString = (object) =>
    Object.entries(object)
      .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
      .join("&");

  const transportName = (manager) => manager.engine?.transport?.name ?? null;

  function openConnection(command) {
    const { conn, url, nsps, transport, auth, query, headers, parser, reconnect, base64, listen, answer } = command;
    const { io, ...special } = library(parser);
    const options = {
      ...special,
      autoConnect: false,
      transports: { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[transport],
      upgrade: true,
      reconnection: Boolean(reconnect),
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
      randomizationFactor: 0,
      timeout: 5_000,
      rejectUnauthorized: false,
    };
    if (query) options.query = { ...query };
    if (headers) options.extraHeaders = headers;
    if (base64) options.forceBase64 = true;
    const manager = new io.Manager(url, options);
    const sockets = new Map();
    open.set(conn, { manager, sockets });

    const report = (nsp, type, ...args) => send({ conn, nsp, type, args: args.map(pack) });
    const onOpen = () => {
      manager.engine.on("upgrade", (upgraded) => report(null, "upgrade", upgraded.name));
    };
    manager.on("open", onOpen);

    for (const nsp of nsps) {
      const own = {};
      if (auth) {
        if (oldProtocol) own.query = queryString(auth);
        else own.auth = auth;
      }
      const socket = manager.socket(nsp, own);
      sockets.set(nsp, socket);
      socket.on("connect", () => report(nsp, "connect", socket.id));
      socket.on("disconnect", (reason) => report(nsp, "disconnect", reason));
      if (oldProtocol) {
        socket.on("error", (error) => {
          if (error instanceof Error) report(nsp, "transport_error", error.message);
          else report(nsp, "connect_error", { raw: error });
        });
        socket.on("connect_error", (error) => report(nsp, "transport_error", String(error?.message ?? error)));
      } else {
        socket.on("connect_error", (error) => {
          if (error.type === "TransportError" || error.message === "timeout") {
            report(nsp, "transport_error", error.message);
          } else {
            report(nsp, "connect_error", error.data === undefined ? { message: error.message } : { message: error.message, data: error.data });
          }
        });
      }
      for (const event of listen ?? []) {
        socket.on(event, (...args) => {
          const reply = typeof args.at(-1) === "function" ? args.pop() : undefined;
          report(nsp, "event", event, ...args);
          if (reply && answer?.includes(event)) reply(...args);
        });
      }
    }
    for (const socket of sockets.values()) socket.open();
  }

  const operations = {
    open: openConnection,
    emit({ conn, nsp, event, args, ack }) {
      const socket = open.get(conn).sockets.get(nsp);
      const values = args.map(unpack);
      if (!ack) {
        socket.emit(event, ...values);
        return undefined;
      }
      return new Promise((resolve) => {
        socket.emit(event, ...values, (...reply) => resolve(reply.map(pack)));
      });
    },
    info({ conn, nsp }) {
      const { manager, sockets } = open.get(conn);
      const socket = sockets.get(nsp);
      return {
        id: socket.id ?? null,
        connected: socket.connected,
        transport: transportName(manager),
        recovered: socket.recovered ?? false,
      };
    },
    disconnect({ conn, nsp }) {
      open.get(conn).sockets.get(nsp).disconnect();
    },
    connect({ conn, nsp }) {
      open.get(conn).sockets.get(nsp).open();
    },
    // Closes the Engine.IO connection, no Socket.IO packet before it.
    closeEngine({ conn }) {
      open.get(conn).manager.engine.close();
    },
    close({ conn }) {
      const entry = open.get(conn);
      if (!entry) return;
      open.delete(conn);
      entry.manager.reconnection(false);
      for (const socket of entry.sockets.values()) {
        socket.off();
        socket.on("error", () => {});
        socket.disconnect();
      }
      entry.manager.engine?.close?.();
    },
  };

  return async (command) => operations[command.op](command);
}
