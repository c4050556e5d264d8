// A client in another process, or another language: one JSON object a line, commands on its standard input, answers and
// events on its standard output. The protocol is in CONTRACT.md.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { within } from "../lib/check.mjs";

export const lineDriver = (program, args) => async (onMessage) => {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const waiting = new Map();
  let counter = 0;
  let errors = "";
  const fail = (reason) => {
    for (const { reject } of waiting.values()) reject(new Error(`the client ${reason} ${errors.trim().slice(-400)}`));
    waiting.clear();
  };
  child.stderr.on("data", (chunk) => {
    errors = (errors + chunk).slice(-4_000);
  });
  child.on("error", (error) => fail(`did not start: ${error.message}`));
  child.on("exit", (code, signal) => fail(`ended (${signal ?? code}):`));
  child.stdin.on("error", () => {});
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.id === undefined) return onMessage(message);
    const entry = waiting.get(message.id);
    waiting.delete(message.id);
    if (!entry) return;
    if (message.error === undefined) entry.resolve(message.ok);
    else entry.reject(new Error(message.error));
  });
  const run = (command) => {
    if (child.exitCode !== null || child.signalCode !== null) return Promise.reject(new Error(`the client has ended: ${errors.trim().slice(-400)}`));
    const id = ++counter;
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    child.stdin.write(`${JSON.stringify({ id, ...command })}\n`);
    return answer;
  };
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    child.stdin.end();
    await within(2_000, once(child, "exit"), "end of the client").catch(() => child.kill("SIGKILL"));
  };
  return { run, stop };
};
