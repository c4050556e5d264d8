// socket.io-client of one major version, in this process.
import { createRequire } from "node:module";
import { createCore } from "./core.mjs";

const require = createRequire(import.meta.url);

export const jsDriver = (major) => async (onMessage) => {
  const io = require(`socket.io-client-${major}`);
  const run = createCore({
    library: (parser) => (parser === "msgpack" ? { io, parser: require("socket.io-msgpack-parser") } : { io }),
    major,
    send: onMessage,
    toBinary: (text) => Buffer.from(text, "base64"),
    fromBinary: (value) => {
      if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
      if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
      return undefined;
    },
  });
  return { run, stop: async () => {} };
};
