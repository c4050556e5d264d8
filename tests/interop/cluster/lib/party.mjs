// A process that follows CONTRACT.md: a node or an emitter.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Difference, sleep, within } from "../../lib/check.mjs";
import { pack, unpack } from "../../lib/codec.mjs";

/** Whether each thread of a process stands still, as Linux tells it; elsewhere the signal has to do. */
function stopped(pid) {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return true;
  const state = (thread) => {
    try {
      // After the name, which may contain anything, in parentheses.
      return readFileSync(`${tasks}/${thread}/stat`, "latin1").split(") ").at(-1)[0];
    } catch {
      return "T"; // it has ended meanwhile
    }
  };
  return readdirSync(tasks).every((thread) => state(thread) === "T");
}

/** For whatever should happen at once, on a machine that has other things to do: only a failure ever takes so long. */
const BOUND = 60_000;
/** How long it may take to end by itself, which is no more than a bound either. */
const GRACE = 15_000;
/** Between two looks at the state of a process. */
const PAUSE = 5;

/** Everything that was started and has not ended. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Party {
  #asked = new Map();
  #listening = new Set();
  #counter = 0;

  /** `info` is an entry of parties.mjs; `variables` configure the process. */
  static async start(info, variables, onNote) {
    const party = new Party();
    Object.assign(party, info, { notes: [], errors: "" });
    const [program, ...args] = info.command;
    const env = { ...process.env, NAME: info.name, ...info.env, ...variables };
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env });
    party.child = child;
    running.add(child);
    child.stdin.on("error", () => {});
    child.stderr.on("data", (chunk) => {
      party.errors = (party.errors + chunk).slice(-4_000);
    });
    const listening = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const said = JSON.parse(line);
        if ("listening" in said) return resolve(said.listening);
        if (said.note) {
          party.notes.push(said.note);
          for (const look of party.#listening) look();
          return onNote?.(party, said.note);
        }
        const { resolve: done, reject: refuse } = party.#asked.get(said.id) ?? {};
        party.#asked.delete(said.id);
        if ("ok" in said) done?.(unpack(said.ok));
        else refuse?.(new Difference(`${info.name}: ${said.error}`));
      });
      child.once("error", (error) => reject(new Error(`cannot start ${program}: ${error.message}`)));
      party.ended = once(child, "exit").then(([code, signal]) => {
        running.delete(child);
        party.end = signal ?? code;
        const error = new Difference(`${info.name} ended (${party.end}): ${party.errors.trim().slice(-400)}`);
        reject(error);
        for (const { reject: refuse } of party.#asked.values()) refuse(error);
        party.#asked.clear();
        return party.end;
      });
    });
    party.url = await within(BOUND, listening, `start of ${info.name}`);
    return party;
  }

  /** Sends a command of section 2 and gives its result. */
  call(name, { nsp = "/", ...rest } = {}, bound = BOUND) {
    if (this.end !== undefined) return Promise.reject(new Difference(`${this.name} ended (${this.end})`));
    const id = ++this.#counter;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.child.stdin.write(`${JSON.stringify({ id, do: name, nsp, ...pack(rest) })}\n`);
    return within(bound, answer, `${this.name}: ${name}`);
  }

  /** Waits for a note that matches, the `from`th or a later one. */
  noted(pattern, from = 0) {
    let look;
    const told = new Promise((resolve) => {
      look = () => this.notes.slice(from).some((text) => pattern.test(text)) && resolve();
      this.#listening.add(look);
      look();
    });
    return within(BOUND, told, `${this.name}: a note like ${pattern}`).finally(() => this.#listening.delete(look));
  }

  /** Asks it to end, which it does in its own time; kills it if that is too long. */
  async stop() {
    if (this.end !== undefined) return this.end;
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), GRACE);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }

  kill() {
    this.child.kill("SIGKILL");
    return this.ended;
  }

  /**
   * Stops it without ending it: its connections stay, and nobody is at home. The signal is only asked for when `kill`
   * returns; a busy machine lets some threads go on for a while, long enough to answer a request.
   */
  async freeze() {
    this.child.kill("SIGSTOP");
    const end = Date.now() + BOUND;
    while (!stopped(this.child.pid)) {
      if (Date.now() > end) throw new Difference(`${this.name} does not stop`);
      // why: nothing tells when the last thread stands still
      await sleep(PAUSE);
    }
  }

  thaw() {
    this.child.kill("SIGCONT");
  }
}
