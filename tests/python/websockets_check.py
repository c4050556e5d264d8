"""Drives the server's WebSocket layer with the `websockets` package, a third implementation of RFC 6455.

Usage: websockets_check.py ws://HOST:PORT. Ends with 1 and the first difference.
"""

import asyncio
import json
import sys

import websockets

TARGET = "/socket.io/?EIO=4&transport=websocket"


def expect(seen, wanted, what):
    if seen != wanted:
        sys.exit(f"{what}: expected {wanted!r}, got {seen!r}")


async def connect(url):
    socket = await websockets.connect(url + TARGET, max_size=None)
    opened = await socket.recv()
    expect(opened[0], "0", "open packet")
    await socket.send("40")
    connected = await socket.recv()
    expect(connected[:2], "40", "CONNECT")
    return socket, json.loads(opened[1:])["maxPayload"]


async def echo(socket, value):
    await socket.send("42" + json.dumps(["echo", value]))
    answer = await asyncio.wait_for(socket.recv(), 5)
    expect(json.loads(answer[2:]), ["echo", value], "echo")


async def main(url):
    socket, limit = await connect(url)
    for value in ["x", "", "é€😀", "x" * 125, "x" * 126, "x" * 65_536, "x" * (limit - 100)]:
        await echo(socket, value)

    # A message in fragments that cut characters, with a ping between them.
    text = ('42["echo","' + "é€😀" * 100 + '"]').encode()

    async def fragments():
        for at in range(0, len(text), 7):
            yield text[at : at + 7]
            if at == 70:
                await asyncio.wait_for(await socket.ping(b"now"), 5)

    await socket.send(fragments(), text=True)
    answer = await asyncio.wait_for(socket.recv(), 5)
    expect(json.loads(answer[2:]), ["echo", "é€😀" * 100], "echo of fragments")

    # Binary goes by itself, in both directions.
    await socket.send('451-["echo",{"_placeholder":true,"num":0}]')
    await socket.send(bytes(range(256)))
    expect(await socket.recv(), '451-["echo",{"_placeholder":true,"num":0}]', "header of a binary event")
    expect(await socket.recv(), bytes(range(256)), "attachment")

    await socket.close(4001, "enough")
    expect((socket.close_code, socket.protocol.close_rcvd.code), (4001, 4001), "close handshake")

    # One byte more than announced.
    socket, limit = await connect(url)
    await socket.send("4" * (limit + 1))
    try:
        await asyncio.wait_for(socket.recv(), 5)
        sys.exit("a message beyond the limit was taken")
    except websockets.ConnectionClosed:
        expect(socket.close_code, 1009, "close code of a message beyond the limit")

    # Text that is not UTF-8.
    socket, _ = await connect(url)
    await socket.send(b'42["echo","\xff"]', text=True)
    try:
        await asyncio.wait_for(socket.recv(), 5)
        sys.exit("text that is not UTF-8 was taken")
    except websockets.ConnectionClosed:
        expect(socket.close_code, 1007, "close code of text that is not UTF-8")


asyncio.run(main(sys.argv[1]))
