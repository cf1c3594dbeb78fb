"""A fake of an embedding model behind a real HTTP server that speaks OpenAI's embeddings API: what a text means is looked up
in a table of topics, and the server fails as it is told to."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOPICS = (
    {"repairs", "fix", "defects", "bug"},
    {"cook", "cooks", "recipe", "recipes", "meal", "dinner"},
    {"translate", "language", "interpreter"},
)


def meaning(text: str) -> list[float]:
    """How much of each topic a text has, and a little of none."""
    words = text.lower().split()
    return [*(float(sum(word in topic for word in words)) for topic in TOPICS), 0.1]


class FakeEmbeddings:
    """The server. `status` and `delay` are of the next answers; `batches` are the sizes of what was asked; a text with
    `refused` in it is answered with 400."""

    def __init__(self) -> None:
        self.status, self.delay, self.refused, self.key = 200, 0.0, "", ""
        self.answer: bytes | None = None
        self.batches: list[int] = []
        self.keys: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                fake.keys.append(self.headers.get("authorization", ""))
                time.sleep(fake.delay)
                status, body = fake._answer(self.path, asked)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _answer(self, path: str, asked: Any) -> tuple[int, bytes]:
        if path != "/v1/embeddings" or asked["model"] != "fake-model":
            return 404, b'{"error": "no such model"}'
        self.batches.append(len(asked["input"]))
        if self.answer is not None:
            return 200, self.answer
        if self.refused and any(self.refused in text for text in asked["input"]):
            return 400, b'{"error": "too long"}'
        rows = [{"index": at, "embedding": meaning(text)} for at, text in enumerate(asked["input"])]
        return self.status, json.dumps({"data": rows[::-1]}).encode()

    def __enter__(self) -> "FakeEmbeddings":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
