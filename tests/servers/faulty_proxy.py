"""A proxy on loopback that spoils one request in five, between Nightsift and a real HTTP server.

Every request has a connection of its own, so the bytes pass as they are (signatures cover the Host header:
sign for the proxy's address). Of each five requests a seeded draw picks one to spoil, how, and when:
before the server sees it, or after the server has carried it out and half of its answer is on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.servers.threaded import ThreadedServer

KINDS = ("reset", "stall", "truncate", "unavailable")
ONE_IN = 5
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class FaultyProxy(ThreadedServer):
    """Stands before ``server``; without ``kinds`` it passes everything.

    Attributes
    ----------
    url
        Where it listens.
    requests, spoiled
        How many requests came, and how many were spoiled in which way.
    """

    def __init__(self, server: str, kinds: Sequence[str], seed: int = 0, one_in: int = ONE_IN) -> None:
        super().__init__()
        parts = urlsplit(server)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._kinds, self._draw = tuple(kinds), random.Random(seed)
        self._one_in, self._place = one_in, 0
        self.requests = 0
        self.spoiled: Counter[str] = Counter()

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def _fault(self) -> tuple[str, bool]:
        """How this request is spoiled ("" is not at all), and whether the server carries it out."""
        if self.requests % self._one_in == 0:
            self._place = self._draw.randrange(self._one_in)
        chosen = self._kinds and self.requests % self._one_in == self._place
        self.requests += 1
        if not chosen:
            return "", True
        kind = self._draw.choice(self._kinds)
        self.spoiled[kind] += 1
        return kind, kind == "truncate" or (kind != "unavailable" and self._draw.random() < 0.5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            kind, carried_out = self._fault()
            body = await reader.readexactly(_length(head))
            answer = await self._ask(head, body) if carried_out else b""
            if kind == "unavailable":
                answer = _slow_down(head)
            writer.write(_half(answer) if kind in ("reset", "stall", "truncate") else answer)
            await writer.drain()
            if kind == "stall":
                await reader.read()  # until the other side gives up
            if kind == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
        writer.close()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(re.sub(rb"\r\nconnection:[^\r]*", b"", head[:-2], flags=re.IGNORECASE))
        writer.write(b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        return answer


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, flags=re.IGNORECASE)
    return int(found[1]) if found else 0


def _half(answer: bytes) -> bytes:
    """The answer up to the middle of its body, or of its head where it has no body."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    return head + separator + body[: len(body) // 2] if body else head[: len(head) // 2]


def _slow_down(asked: bytes) -> bytes:
    head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(SLOW_DOWN)}\r\n"
    body = b"" if asked.startswith(b"HEAD ") else SLOW_DOWN
    return head.encode() + b"Connection: close\r\n\r\n" + body
