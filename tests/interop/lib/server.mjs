// Starts and ends instances of the server under test.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "./check.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));

/** The configurations the suite needs; the names are used in cases. Variables are explained in CONTRACT.md. */
export const INSTANCES = {
  main: {},
  msgpack: { PARSER: "msgpack" },
  /** a heartbeat that can be waited for */
  short: { PING_INTERVAL: "500", PING_TIMEOUT: "800" },
  /** the same for a client that a busy machine may hold up for longer than that timeout */
  steady: { PING_INTERVAL: "500", PING_TIMEOUT: "2000" },
  /** for the few cases that are about being too slow; a client under load is too slow at any time */
  impatient: { CONNECT_TIMEOUT: "500", UPGRADE_TIMEOUT: "500" },
  /** the usual limit on messages */
  limited: { MAX_HTTP_BUFFER_SIZE: "1000000" },
  recovery: { RECOVERY: "60000" },
  noeio3: { ALLOW_EIO3: "0" },
  cors: { CORS_ORIGIN: "http://origin.test" },
  pollingonly: { TRANSPORTS: "polling" },
  noupgrade: { ALLOW_UPGRADES: "0" },
};

function command({ server, serverBin }) {
  if (server === "rust") return { program: serverBin, args: [], env: {} };
  return {
    program: process.execPath,
    args: [`${here}server-node.mjs`],
    env: server === "node2" ? { SOCKETIO: "2" } : {},
  };
}

export class Server {
  static async start(options, variables) {
    const { program, args, env } = command(options);
    const server = new Server();
    server.child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env, ...variables },
    });
    server.errors = "";
    server.child.stderr.on("data", (chunk) => {
      server.errors = (server.errors + chunk).slice(-4_000);
    });
    server.exited = once(server.child, "exit").then(([code, signal]) => {
      server.ended = { code, signal };
      return server.ended;
    });
    const failed = once(server.child, "error").then(([error]) => {
      throw new Error(`cannot start ${program}: ${error.message}`);
    });
    failed.catch(() => {});
    const lines = createInterface({ input: server.child.stdout });
    const line = await within(
      10_000,
      Promise.race([
        once(lines, "line").then(([text]) => text),
        failed,
        server.exited.then(({ code, signal }) => {
          throw new Error(`server ended before listening (${signal ?? code}): ${server.errors.trim().slice(-300)}`);
        }),
      ]),
      "start of the server",
    );
    const found = /^listening on (http:\/\/127\.0\.0\.1:(\d+))$/.exec(line);
    if (!found) throw new Error(`unexpected first line of the server: ${line}`);
    server.url = found[1];
    server.port = Number(found[2]);
    return server;
  }

  /** SIGTERM, then SIGKILL; the result says how it ended. */
  async stop(grace = 10_000) {
    if (this.ended) return this.ended;
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), grace);
    const ended = await this.exited;
    clearTimeout(timer);
    return ended;
  }
}

/** One running server per configuration, started when first asked for and again if it died. */
export class Servers {
  #options;
  #running = new Map();
  /** variables that all servers get on top of those of their configuration */
  variables = {};

  constructor(options) {
    this.#options = options;
  }

  async get(name) {
    const known = await this.#running.get(name);
    if (known && !known.ended) return known;
    const started = this.fresh(name);
    started.catch(() => this.#running.delete(name));
    this.#running.set(name, started);
    return started;
  }

  /** One that belongs to a single case. */
  fresh(name) {
    return Server.start(this.#options, { ...INSTANCES[name], ...this.variables });
  }

  /** Servers that ended by themselves since the last call, as text. */
  async died() {
    const found = [];
    for (const [name, pending] of this.#running) {
      const server = await pending.catch(() => undefined);
      if (!server?.ended) continue;
      found.push(`server "${name}" ended (${server.ended.signal ?? server.ended.code}): ${server.errors.trim().slice(-300)}`);
      this.#running.delete(name);
    }
    return found;
  }

  async stop() {
    const servers = await Promise.allSettled(this.#running.values());
    await Promise.all(servers.map(({ value }) => value?.stop()));
    this.#running.clear();
  }
}
