// The Node peer of `cargo xtask bench`: socket.io with its default engine (ws), compression off.
//
// The contract every server under test fulfils: environment PORT and WORKERS; on `/` the events echo, ack,
// join, leave and bcast; prints `listening on 127.0.0.1:PORT` once it accepts connections. With REDIS_URL it is a
// node of a cluster, over the adapter that DIALECT names: classic or sharded.

import cluster from "node:cluster";
import { createServer } from "node:http";
import { Server } from "socket.io";

const port = Number(process.env.PORT ?? 3000);
const workers = Number(process.env.WORKERS ?? 1);

if (workers > 1 && cluster.isPrimary) {
  // Without an adapter a room lives in one process: several workers are for echo and connects only.
  let ready = 0;
  cluster.on("listening", () => {
    ready += 1;
    if (ready === workers) console.log(`listening on 127.0.0.1:${port}`);
  });
  for (let i = 0; i < workers; i += 1) cluster.fork();
} else {
  const http = createServer();
  const io = new Server(http, { pingInterval: 300_000, perMessageDeflate: false, httpCompression: false });

  if (process.env.REDIS_URL) await joinCluster(io, process.env.REDIS_URL, process.env.DIALECT ?? "classic");

  io.on("connection", (socket) => {
    socket.on("echo", (x) => socket.emit("echo", x));
    socket.on("ack", (x, done) => done(x));
    socket.on("join", (room, done) => {
      socket.join(room);
      done();
    });
    socket.on("leave", (room, done) => {
      socket.leave(room);
      done();
    });
    socket.on("bcast", (room, x) => io.to(room).emit("bcast", x));
  });

  // The listen queue of Node is 511 by default, which a ramp of 15,000 connections can overrun.
  http.listen({ port, host: "127.0.0.1", backlog: 4096 }, () => {
    if (cluster.isPrimary) console.log(`listening on 127.0.0.1:${port}`);
  });
}

async function joinCluster(io, url, dialect) {
  const { createAdapter, createShardedAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const create = { classic: createAdapter, sharded: createShardedAdapter }[dialect];
  io.adapter(create(publisher, subscriber));
  // Subscriptions go out in order: once this one is confirmed, so are those of the adapter.
  const subscribe = dialect === "sharded" ? "sSubscribe" : "subscribe";
  await subscriber[subscribe]("bench-ready", () => {});
}
