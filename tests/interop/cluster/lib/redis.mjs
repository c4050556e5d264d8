// A redis-server of our own: without persistence, on a free port, in a folder of its own. It ends with this process,
// however that ends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Difference, within } from "../../lib/check.mjs";

/** Kills the process that it is told of when its input ends. */
const WATCHER = 'read -r _; kill -KILL "$1"';

const { createClient } = createRequire(import.meta.url)("redis-5");

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class Redis {
  static async start(program) {
    const redis = new Redis();
    redis.program = program;
    redis.folder = mkdtempSync(join(tmpdir(), "sio-redis-"));
    redis.port = await freePort();
    redis.url = `redis://127.0.0.1:${redis.port}`;
    await redis.up();
    return redis;
  }

  /** Starts it (again), on the same port. */
  async up() {
    const options = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.folder];
    this.child = spawn(this.program, options.map(String), { stdio: ["ignore", "pipe", "ignore"] });
    const failed = once(this.child, "error").then(([error]) => {
      throw new Error(`cannot start ${this.program}: ${error.message}`);
    });
    // Without a process there is nobody to be watched.
    if (this.child.pid) {
      const watched = ["-c", WATCHER, "sh", String(this.child.pid)];
      this.watcher = spawn("sh", watched, { stdio: ["pipe", "ignore", "ignore"] });
    }
    const ready = new Promise((resolve, reject) => {
      createInterface({ input: this.child.stdout }).on("line", (line) => line.includes("Ready to accept") && resolve());
      this.child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
    });
    failed.catch(() => {});
    ready.catch(() => {});
    await within(10_000, Promise.race([ready, failed]), "start of redis-server");
    this.client = createClient({ url: this.url, socket: { reconnectStrategy: false } });
    this.client.on("error", () => {});
    await this.client.connect();
  }

  /** As a crash would. */
  async kill() {
    this.client.destroy();
    const gone = once(this.child, "exit");
    this.watcher.stdin.end();
    await gone;
  }

  stop() {
    this.child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #number(kind, channel) {
    return Number((await this.client.sendCommand(["PUBSUB", kind, channel]))[1]);
  }

  /** Waits until a channel has exactly so many subscribers. Asking is a round trip, so this is no busy loop. */
  async subscribers(kind, channel, wanted, bound = 10_000) {
    const end = Date.now() + bound;
    for (;;) {
      const found = await this.#number(kind, channel);
      if (found === wanted) return;
      if (Date.now() > end) throw new Difference(`${channel}: ${found} subscribers, expected ${wanted}`);
    }
  }
}
