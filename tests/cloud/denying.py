"""An AWS that refuses everything, in the words of each service: EC2 and IAM speak XML, the others JSON."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MESSAGE = "User: arn:aws:iam::123456789012:user/worker is not authorized to perform this action"


@contextmanager
def denying() -> Iterator[str]:
    """Serve for the length of a `with` block; yield the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "X-Amz-Target" in self.headers:
            status, content = 400, json.dumps({"__type": "AccessDeniedException", "message": MESSAGE})
        elif "Version=2016-11-15" in body:  # EC2
            said = f"<Code>UnauthorizedOperation</Code><Message>{MESSAGE}</Message>"
            status, content = 403, f"<Response><Errors><Error>{said}</Error></Errors></Response>"
        else:
            said = f"<Type>Sender</Type><Code>AccessDenied</Code><Message>{MESSAGE}</Message>"
            status, content = 403, f"<ErrorResponse><Error>{said}</Error></ErrorResponse>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: object) -> None:
        pass
