// The command `sio-emit` as a sender: every operation is one run of it. Its end says that Redis has taken everything, so
// runs one after the other are as ordered as commands on one connection.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Difference, within } from "../../lib/check.mjs";
import { pack } from "../../lib/codec.mjs";

/** For a run of the command: only a failure ever takes so long, milliseconds. */
const BOUND = 60_000;

export class Emit {
  notes = [];
  errors = "";

  constructor(info, { REDIS_URL, KEY, DIALECT, MODE }) {
    Object.assign(this, info);
    const limit = BOUND / 1_000;
    this.common = [`--redis=${REDIS_URL}`, `--key=${KEY}`, `--connect-timeout=${limit}`, `--timeout=${limit}`, "--quiet"];
    if (DIALECT === "sharded") this.common.push("--sharded", `--mode=${MODE}`);
  }

  async call(name, command) {
    const child = spawn(this.emit, [...this.common, ...words(name, { nsp: "/", ...command })], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk) => (errors += chunk));
    const failed = once(child, "error").then(([error]) => {
      throw new Difference(`cannot start ${this.emit}: ${error.message}`);
    });
    failed.catch(() => {});
    const [code, signal] = await within(BOUND, Promise.race([once(child, "close"), failed]), `sio-emit ${name}`).finally(() => child.kill());
    if (code !== 0) throw new Difference(`sio-emit ended with ${signal ?? code}: ${errors.trim().slice(-300)}`);
    return null;
  }

  async stop() {
    return 0;
  }

  kill() {}
}

/** The command line of a command. */
function words(name, { nsp, rooms = [], except = [], flags = {}, event, args, into, close }) {
  const target = [`--nsp=${nsp}`, ...rooms.map((room) => `--to=${room}`), ...except.map((room) => `--except=${room}`)];
  const values = () => ["--", event, ...args.map(json)];
  if (name === "emit" && !flags.local) {
    if (flags.volatile) target.push("--volatile");
    if (flags.compress !== undefined) target.push(`--compress=${flags.compress}`);
    return ["--binary", ...target, ...values()];
  }
  if (name === "join" || name === "leave") return [...target, name, ...into];
  if (name === "disconnect") return [...target, name, ...(close ? ["--close"] : [])];
  if (name === "serverEmit") return [`--nsp=${nsp}`, "server-side-emit", ...values()];
  throw new Difference("unsupported");
}

/** A value as the command takes it; JSON has no dates. */
function json(value) {
  return JSON.stringify(pack(value), (_key, inner) => {
    if (typeof inner?.$date === "number") throw new Difference("unsupported");
    return typeof inner?.$bin === "string" ? { $binary: inner.$bin } : inner;
  });
}
