"""What Arrow reads of Google Cloud Storage, as its JSON API answers: listing, looking at and reading objects.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

WRITTEN = "2020-01-01T00:00:00.000Z"


class GoogleStorage(ThreadingHTTPServer):
    """One bucket, `bucket`, on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}

    def about(self, name: str) -> dict[str, str]:
        """Return an object's resource."""
        versions = {"generation": "1", "metageneration": "1"}
        size = str(len(self.objects[name]))
        return {
            "kind": "storage#object",
            "bucket": "bucket",
            "name": name,
            "size": size,
            "timeCreated": WRITTEN,
            "updated": WRITTEN,
        } | versions


@contextmanager
def serving() -> Iterator[GoogleStorage]:
    """Serve an empty bucket for the length of a `with` block."""
    with GoogleStorage() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GoogleStorage

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        folder, _, name = asked.path.partition("/o/")
        if not name and folder.endswith("/b/bucket/o"):
            self._say(self._listed(query.get("prefix", ""), query.get("delimiter", "")))
            return
        name = unquote(name) or unquote(asked.path.removeprefix("/bucket/"))  # as its XML API names what is read
        if name not in self.server.objects:
            self._say({"error": {"code": 404, "message": f"No such object: bucket/{name}"}}, status=404)
        elif query.get("alt") == "media" or asked.path.startswith("/bucket/"):
            self._send(self.server.objects[name], "application/octet-stream")
        else:
            self._say(self.server.about(name))

    def _listed(self, prefix: str, delimiter: str) -> dict[str, object]:
        items, prefixes = [], set()
        for name in sorted(self.server.objects):
            begin, found, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else (name, "", "")
            if name.startswith(prefix) and found:
                prefixes.add(prefix + begin + found)
            elif name.startswith(prefix):
                items.append(self.server.about(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def _say(self, content: object, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", status)

    def _send(self, content: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""
