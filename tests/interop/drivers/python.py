"""Runs python-socketio for the suite: JSON lines on standard input and output, see CONTRACT.md.

Without arguments the asyncio client, with --sync the threaded one.
"""

import asyncio
import base64
import inspect
import json
import os
import sys
import threading
import urllib.parse

import socketio

SYNC = "--sync" in sys.argv[1:]
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}

output = threading.Lock()


def write(message):
    line = json.dumps(message, separators=(",", ":"))
    with output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def pack(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bin": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(inner) for inner in value]
    if isinstance(value, dict):
        return {key: pack(inner) for key, inner in value.items()}
    return value


def unpack(value):
    if isinstance(value, list):
        return [unpack(inner) for inner in value]
    if isinstance(value, dict):
        if isinstance(value.get("$bin"), str):
            return base64.b64decode(value["$bin"])
        return {key: unpack(inner) for key, inner in value.items()}
    return value


async def settle(result):
    """The result of a method of either client."""
    return await result if inspect.isawaitable(result) else result


class Connection:
    def __init__(self, command):
        self.name = command["conn"]
        library = socketio.Client if SYNC else socketio.AsyncClient
        self.client = library(
            reconnection=bool(command.get("reconnect")),
            reconnection_delay=0.05,
            reconnection_delay_max=0.2,
            randomization_factor=0,
            serializer=command.get("parser") or "default",
            handle_sigint=False,
        )
        for nsp in command["nsps"]:
            self.register(nsp, command)

    def report(self, nsp, kind, *args):
        write({"conn": self.name, "nsp": nsp, "type": kind, "args": [pack(arg) for arg in args]})

    def register(self, nsp, command):
        client = self.client

        def on_connect():
            self.report(nsp, "connect", client.get_sid(nsp))

        def on_disconnect(reason):
            self.report(nsp, "disconnect", reason)

        def on_connect_error(*args):
            error = args[0] if args else None
            if isinstance(error, dict) and "message" in error:
                self.report(nsp, "connect_error", error)
            else:
                self.report(nsp, "transport_error", str(error))

        client.on("connect", on_connect, namespace=nsp)
        client.on("disconnect", on_disconnect, namespace=nsp)
        client.on("connect_error", on_connect_error, namespace=nsp)
        for event in command.get("listen") or []:
            client.on(event, self.listener(nsp, event, event in (command.get("answer") or [])), namespace=nsp)

    def listener(self, nsp, event, answering):
        def on_event(*args):
            self.report(nsp, "event", event, *args)
            return tuple(args) if answering else None

        return on_event

    async def open(self, command):
        url = command["url"]
        if command.get("query"):
            url += "?" + urllib.parse.urlencode(command["query"])
        auth = command.get("auth")
        try:
            await settle(
                self.client.connect(
                    url,
                    headers=command.get("headers") or {},
                    auth=unpack(auth) if auth is not None else None,
                    transports=TRANSPORTS[command["transport"]],
                    namespaces=command["nsps"],
                    wait=False,
                )
            )
        except socketio.exceptions.ConnectionError as error:
            for nsp in command["nsps"]:
                self.report(nsp, "transport_error", str(error))


connections = {}


async def run(command):
    operation = command["op"]
    if operation == "open":
        connection = connections[command["conn"]] = Connection(command)
        await connection.open(command)
        write({"id": command["id"], "ok": None})
        return
    connection = connections[command["conn"]]
    client = connection.client
    result = None
    if operation == "emit":
        callback = None
        if command.get("ack"):

            def callback(*args):
                write({"id": command["id"], "ok": pack(args)})

        data = tuple(unpack(command["args"]))
        await settle(client.emit(command["event"], data, namespace=command["nsp"], callback=callback))
        if callback:
            return
    elif operation == "info":
        result = {
            "id": client.get_sid(command["nsp"]),
            "connected": client.connected,
            "transport": client.transport(),
            "recovered": False,
        }
    elif operation == "disconnect":
        await settle(client.disconnect())
    elif operation == "closeEngine":
        await settle(client.eio.disconnect())
    elif operation == "close":
        del connections[command["conn"]]
        await settle(client.shutdown())
    else:
        raise ValueError(f"unknown operation {operation}")
    write({"id": command["id"], "ok": result})


async def main():
    loop = asyncio.get_running_loop()
    commands = asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(commands.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (command := await commands.get()) is not None:
        try:
            await run(command)
        except Exception as error:
            write({"id": command["id"], "error": f"{type(error).__name__}: {error}"})


asyncio.run(main())
# Threads of the library must not keep the process alive.
os._exit(0)
