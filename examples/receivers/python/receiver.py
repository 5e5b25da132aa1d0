"""A receiver: POST /standard, /standard-ed25519, /twenty, /hmac or /token. It answers 204 when the request is genuine
and 401 when it is not. The secrets are in the environment."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ

import hmac_signature
import standard
import standard_ed25519
import token_header
import twenty

MAX_BODY = 1 << 20
ROUTES = {
    "/standard": lambda headers, body: standard.verify(environ["STANDARD_SECRET"], headers, body),
    "/standard-ed25519": lambda headers, body: standard_ed25519.verify(environ["STANDARD_PUBLIC_KEY"], headers, body),
    "/twenty": lambda headers, body: twenty.verify(environ["TWENTY_SECRET"], headers, body),
    "/hmac": lambda headers, body: hmac_signature.verify(environ["HMAC_SECRET"], headers, body),
    "/token": lambda headers, body: token_header.verify(environ["TOKEN"], headers),
}


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self):
        self.send_response(self.status())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def status(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True  # what it sent is still unread
            return 413
        body = self.rfile.read(int(length))
        if self.path not in ROUTES:
            return 404
        try:
            return 204 if ROUTES[self.path](self.headers, body) else 401
        except ValueError:
            return 401  # not what the scheme looks like

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(environ.get("PORT", "0"))), Receiver)
    print(f"listening http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
