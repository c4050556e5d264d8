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
import { Difference, sleep, within } from "../../lib/check.mjs";

/** Kills the process that it is told of when its input ends. */
const WATCHER = 'read -r _; kill -KILL "$1"';

const { createClient } = createRequire(import.meta.url)("redis-5");

/** For whatever should happen at once: only a failure ever takes so long, milliseconds. */
const BOUND = 60_000;
/** Between two questions to Redis. Asking without a pause keeps from work who is waited for. */
const PAUSE = 5;
/** How many free ports are tried: somebody else may take one before Redis does. */
const PORTS = 20;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class Redis {
  #quiet = 0;

  static async start(program) {
    const redis = new Redis();
    redis.program = program;
    redis.folder = mkdtempSync(join(tmpdir(), "sio-redis-"));
    redis.port = await redis.#launch();
    redis.url = `redis://127.0.0.1:${redis.port}`;
    return redis;
  }

  /** Starts a process and gives its port. */
  async #launch() {
    for (let left = PORTS; ; left--) {
      const port = await freePort();
      if (!(await this.#ready(port, left === 1))) continue;
      this.client = createClient({ url: `redis://127.0.0.1:${port}`, socket: { reconnectStrategy: false } });
      this.client.on("error", () => {});
      await this.client.connect();
      return port;
    }
  }

  /** Starts a process on a port; false if it ends, unless that is `final`. */
  async #ready(port, final) {
    const options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.folder];
    this.child = spawn(this.program, options.map(String), { stdio: ["ignore", "pipe", "ignore"] });
    // Without a process there is nobody to be watched.
    if (this.child.pid) {
      const watched = ["-c", WATCHER, "sh", String(this.child.pid)];
      const watcher = spawn("sh", watched, { stdio: ["pipe", "ignore", "ignore"] });
      // Somebody else may have that id later.
      this.child.once("exit", () => watcher.kill("SIGKILL"));
      this.watcher = watcher;
    }
    const ready = new Promise((resolve, reject) => {
      createInterface({ input: this.child.stdout }).on("line", (line) => line.includes("Ready to accept") && resolve(true));
      this.child.once("error", (error) => reject(new Error(`cannot start ${this.program}: ${error.message}`)));
      this.child.once("exit", (code) => (final ? reject(new Error(`redis-server ended with ${code}`)) : resolve(false)));
    });
    return within(BOUND, ready, "start of redis-server");
  }

  /**
   * Starts it again after `kill`, on the same port. It takes subscriptions, but publishes wait until `resume`, at most for
   * `quiet` ms: so whoever is the last to subscribe again misses nothing of what others have kept for this moment.
   */
  async restart(quiet) {
    // Nobody knows the port it is on at first.
    await this.#launch();
    this.#quiet = Date.now() + quiet;
    await this.client.sendCommand(["CLIENT", "PAUSE", String(quiet), "WRITE"]);
    const end = Date.now() + BOUND;
    for (;;) {
      try {
        await this.client.sendCommand(["CONFIG", "SET", "port", String(this.port)]);
        return;
      } catch (error) {
        if (Date.now() > end) throw error;
        // why: somebody has the port, and nothing tells when it is free again
        await sleep(PAUSE);
      }
    }
  }

  resume() {
    return this.client.sendCommand(["CLIENT", "UNPAUSE"]);
  }

  /** How many channels, patterns and shard channels all clients together are subscribed to. */
  async subscriptions() {
    const clients = await this.client.sendCommand(["CLIENT", "LIST"]);
    const sum = (kind) => [...clients.matchAll(new RegExp(` ${kind}=(\\d+)`, "g"))].reduce((total, [, count]) => total + Number(count), 0);
    return ["sub", "psub", "ssub"].map((kind) => `${kind}=${sum(kind)}`).join(" ");
  }

  /** Waits until everything is subscribed that was when `subscriptions` gave this; false if publishes go on before. */
  async subscribed(wanted) {
    for (;;) {
      const found = await this.subscriptions();
      if (Date.now() > this.#quiet) return false;
      if (found === wanted) return true;
      // why: Redis does not tell when somebody subscribes
      await sleep(PAUSE);
    }
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

  /** Waits until a channel has exactly so many subscribers. */
  async subscribers(kind, channel, wanted) {
    const end = Date.now() + BOUND;
    for (;;) {
      const found = await this.#number(kind, channel);
      if (found === wanted) return;
      if (Date.now() > end) throw new Difference(`${channel}: ${found} subscribers, expected ${wanted}`);
      // why: Redis does not tell when somebody subscribes
      await sleep(PAUSE);
    }
  }
}
