"""An HTTP proxy in front of a server that loses answers: the server has acted, and its client never hears of it."""

from __future__ import annotations

import http.client
import random
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Proxy:
    """Passes requests on, and drops a share of the answers.

    Args:
        upstream: the server's address.
        share: of the answers that are lost.
        pick: which ones.
    """

    def __init__(self, upstream: str, share: float, pick: random.Random) -> None:
        self.share, self.pick, self.passed, self.dropped = share, pick, 0, 0
        self._host = urllib.parse.urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def lose(self) -> bool:
        """Whether the next answer is lost."""
        with self._lock:
            lost = self.pick.random() < self.share
            self.dropped, self.passed = self.dropped + lost, self.passed + (not lost)
            return lost

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # the handler has a `self` of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.body()
                headers = {name: text for name, text in self.headers.items() if name.lower() not in HOP}
                onward = http.client.HTTPConnection(proxy._host, timeout=60)
                try:
                    onward.request(self.command, self.path, body, headers)
                    answer = onward.getresponse()
                    content = answer.read()
                except OSError:  # the server is away: so is this one
                    self.close_connection = True
                    return
                finally:
                    onward.close()
                if proxy.lose():
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, text in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, text)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = pass_on

            def body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, format: str, *words: object) -> None:
                pass

        return Handler


@contextmanager
def dropping(upstream: str, share: float, pick: random.Random) -> Iterator[Proxy]:
    """A proxy that is gone when the block ends."""
    proxy = Proxy(upstream, share, pick)
    try:
        yield proxy
    finally:
        proxy.close()
