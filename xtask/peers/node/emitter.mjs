// The Node peer that emits from outside: @socket.io/redis-emitter, as fast as it can, until it is ended. The same
// messages as `sio-emitter/examples/bench.rs` emits.
//
// In batches, each of which Redis has taken before the next one begins: without a bound, the queue of the client
// would grow for as long as this runs. Of the clients that the emitter takes, redis 5 was the fastest here (ioredis 5
// and redis 6 were slower by 40 % and more), and with it batches of 1,000.

import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const BATCH = 1000;

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" });
await client.connect();
const emitter = new Emitter(client);

for (let n = 1; ; n += 1) {
  emitter
    .to("room1")
    .emit("message", { text: "a message of the usual length, as chats have them", user: "someone", n });
  if (n % BATCH === 0) await client.ping();
}
