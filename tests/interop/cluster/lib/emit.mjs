// The command `sio-emit` as a sender: every operation is one run of it. Its end says that Redis has taken everything, so
// runs one after the other are as ordered as commands on one connection.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Difference } from "../../lib/check.mjs";

export class Emit {
  constructor(info, { REDIS_URL, KEY, DIALECT, MODE }) {
    Object.assign(this, info);
    this.common = ["--redis", REDIS_URL, "--key", KEY];
    if (DIALECT === "sharded") this.common.push("--sharded", MODE);
  }
}
