"""How many requests a second a server answers at all: bare sockets that do nothing else.

`python -m tests.benchmarks.asking PORT SECONDS` prints requests a second over 50 connections, one
request at a time on each.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

CONNECTIONS = 50
BODY = (
    b'{"input":{"audio":false,"cfg_scale":0.5,"duration":5,"mode":"std",'
    b'"prompt":"a slow dolly shot through a market at night","size":"16:9"},"model":"kling-v2-6"}'
)


def request(number: int) -> bytes:
    return (
        b"POST /0/api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer mv_live_bench\r\nAccept: application/json\r\n"
        b"Idempotency-Key: %064d\r\nContent-Length: %d\r\n\r\n%b" % (number, len(BODY), BODY)
    )


def rate(port: int, seconds: float) -> float:
    """Answers a second."""
    selector = selectors.DefaultSelector()
    for number in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, (connection, request(number)))
        connection.sendall(request(number))
    answers = 0
    began = time.perf_counter()
    end = began + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select():
            connection, again = key.data
            connection.recv(65536)
            answers += 1
            connection.send(again)
    for key in list(selector.get_map().values()):
        key.data[0].close()
    return answers / (now - began)


if __name__ == "__main__":
    print(rate(int(sys.argv[1]), float(sys.argv[2])))
