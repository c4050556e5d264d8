"""The Python peer of `cargo xtask bench`: python-socketio on uvicorn. Same contract as the Node peer."""

import os

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", ping_interval=300, http_compression=False)


@sio.event
async def echo(sid, x):
    await sio.emit("echo", x, to=sid)


@sio.event
async def ack(sid, x):
    return x


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)
    return []


@sio.event
async def leave(sid, room):
    await sio.leave_room(sid, room)
    return []


@sio.event
async def bcast(sid, room, x):
    await sio.emit("bcast", x, room=room)


class Announcing(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        print(f"listening on 127.0.0.1:{self.config.port}", flush=True)


config = uvicorn.Config(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(os.environ.get("PORT", "3000")),
    backlog=4096,
    log_level="error",
    ws_ping_interval=None,
    ws_per_message_deflate=False,
)
Announcing(config).run()
