// socket.io-client 4 in headless Chromium. The page comes from a server of its own, so every request to the server
// under test is one to another origin: the servers of this client allow that origin.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const dist = join(dirname(require.resolve("socket.io-client-4/package.json")), "dist");

const PAGE = `<!doctype html><title>interop</title>
<script src="/socket.io.msgpack.js"></script>
<script>const ioWithMsgpack = io;</script>
<script src="/socket.io.js"></script>
<script type="module">
import { createCore } from "/core.js";

const toText = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
};
window.run = createCore({
  library: (parser) => ({ io: parser === "msgpack" ? ioWithMsgpack : io }),
  major: 4,
  send: (message) => window.deliver(message),
  toBinary: (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer,
  fromBinary: (value) => {
    if (value instanceof ArrayBuffer) return toText(new Uint8Array(value));
    if (ArrayBuffer.isView(value)) return toText(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    return undefined;
  },
});
document.title = "ready";
</script>`;

const FILES = {
  "/": ["text/html", PAGE],
  "/core.js": ["text/javascript", readFileSync(fileURLToPath(new URL("core.mjs", import.meta.url)))],
  "/socket.io.js": ["text/javascript", readFileSync(join(dist, "socket.io.min.js"))],
  "/socket.io.msgpack.js": ["text/javascript", readFileSync(join(dist, "socket.io.msgpack.min.js"))],
};

export const browserDriver = (options, servers) => async (onMessage) => {
  const files = createServer((request, response) => {
    const [type, content] = FILES[request.url] ?? [];
    response.writeHead(type ? 200 : 404, { "content-type": type ?? "text/plain" });
    response.end(content);
  });
  files.listen(0, "127.0.0.1");
  await once(files, "listening");
  const origin = `http://127.0.0.1:${files.address().port}`;
  servers.variables.CORS_ORIGIN = origin;

  const launch = () =>
    chromium.launch({
      executablePath: options.chromium,
      args: ["--no-sandbox", "--disable-background-networking", "--disable-gpu", "--disable-dev-shm-usage"],
      timeout: 12_000,
    });
  // On a busy machine it sometimes does not come up.
  const browser = await launch().catch(launch);
  const page = await browser.newPage();
  await page.exposeFunction("deliver", onMessage);
  await page.goto(origin);
  await page.waitForFunction(() => document.title === "ready");
  return {
    run: (command) => page.evaluate((given) => window.run(given), command),
    stop: async () => {
      await browser.close();
      files.close();
    },
  };
};
