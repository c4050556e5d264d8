// The Bun peer of `cargo xtask bench`: socket.io on @socket.io/bun-engine. Same contract as the Node peer.

import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const port = Number(process.env.PORT ?? 3000);

const io = new Server();
const engine = new Engine({ path: "/socket.io/", pingInterval: 300_000 });
io.bind(engine);

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

// Bun takes at most 255 s here, and a held long poll is longer than its default of 10 s.
Bun.serve({ ...engine.handler(), port, hostname: "127.0.0.1", idleTimeout: 255 });
console.log(`listening on 127.0.0.1:${port}`);
