// The Node peer that emits from outside: @socket.io/redis-emitter, as fast as it can, until it is ended.
//
// In batches, each of which Redis has taken before the next one begins: without a bound, the queue of the client
// would grow for as long as this runs. Of the clients that the emitter takes, redis 5 was the fastest here (ioredis 5
// and redis 6 were slower by half and more), and with it batches of 1,000.

import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const BATCH = 1000;

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" });
await client.connect();
const emitter = new Emitter(client);
const text = "x".repeat(64);

for (;;) {
  for (let i = 0; i < BATCH; i += 1) emitter.to("room0").emit("bcast", text);
  await client.ping();
}
