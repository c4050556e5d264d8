// A TCP proxy between a client and the server, to do to any client what networks do: cut every connection, stop
// forwarding without closing, refuse connections, or keep a WebSocket handshake waiting.
import { createServer, connect } from "node:net";
import { once } from "node:events";

const UPGRADE = /\r\nupgrade: *websocket\r\n/i;
const POST = "POST /socket.io/";

export class Proxy {
  #pairs = new Set();
  #refusing = false;
  #frozen = { up: false, down: false };
  #posts = 0;
  #holdUntil = 0;
  #held = [];
  #dropping = false;
  dropped = 0;

  static async to(port) {
    const proxy = new Proxy();
    proxy.target = port;
    proxy.server = createServer((client) => proxy.#accept(client));
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** WebSocket handshakes wait until this many POST requests went through: the client is busy on polling then. */
  holdUpgradeUntilPosts(n) {
    this.#holdUntil = this.#posts + n;
  }

  /** WebSocket handshakes are cut off; `dropped` counts them. */
  dropUpgrades(dropping) {
    this.#dropping = dropping;
  }

  /** Nothing is forwarded in these directions any more, not even an end: as when a cable is pulled. */
  freeze({ up = false, down = false }) {
    this.#frozen = { up, down };
  }

  /** Whether a poll is in the air: a GET went to the server and nothing came back yet. */
  holdsPoll() {
    return [...this.#pairs].some((pair) => pair.polling);
  }

  /** All connections are destroyed, on both sides. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#pairs.clear();
    this.#held = [];
  }

  refuse(refusing) {
    this.#refusing = refusing;
  }

  async close() {
    this.#refusing = true;
    this.cut();
    this.server.close();
    await once(this.server, "close");
  }

  #accept(client) {
    client.on("error", () => {});
    if (this.#refusing) return client.destroy();
    client.setNoDelay(true);
    const server = connect({ port: this.target, host: "127.0.0.1", noDelay: true });
    server.on("error", () => {});
    const pair = [client, server];
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    client.on("close", () => this.#frozen.up || end());
    server.on("close", () => this.#frozen.down || end());

    client.on("data", (chunk) => {
      if (this.#frozen.up) return;
      const text = chunk.toString("latin1");
      if (this.#dropping && UPGRADE.test(text)) {
        this.dropped += 1;
        return end();
      }
      if (this.#posts < this.#holdUntil && UPGRADE.test(text)) {
        client.pause();
        this.#held.push(() => {
          server.write(chunk);
          client.resume();
        });
        return;
      }
      server.write(chunk);
      pair.polling = text.startsWith("GET /socket.io/") && !UPGRADE.test(text);
      this.#posts += text.split(POST).length - 1;
      if (this.#posts >= this.#holdUntil) for (const release of this.#held.splice(0)) release();
    });
    server.on("data", (chunk) => {
      pair.polling = false;
      if (!this.#frozen.down) client.write(chunk);
    });
    // Half-closed connections are passed on once what came before has been written.
    client.on("end", () => this.#frozen.up || server.end());
    server.on("end", () => this.#frozen.down || client.end());
  }
}
