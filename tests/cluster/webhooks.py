"""An admission webhook: an HTTPS server beside the API server, that says no, or is gone."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster import certificates
from cluster.places import HOST_ADDRESS

REASON = "no Deployments before Monday"


class _Refusing(BaseHTTPRequestHandler):
    """Admission review v1: everything is refused."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": REASON}}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None:
        """pytest's output is not for its log."""


@contextmanager
def refusing() -> Iterator[int]:
    """Serve on the host's address, with a certificate of the cluster's authority; the port."""
    certificates.issue("webhook", "webhook", hosts=(HOST_ADDRESS,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("webhook.crt"), certificates.path("webhook.key"))
    server = ThreadingHTTPServer((HOST_ADDRESS, 0), _Refusing)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(namespace: str, port: int) -> dict[str, Any]:
    """Lets the API server ask at that port before it makes a Deployment of the namespace."""
    authority = base64.b64encode(certificates.path("ca.crt").read_bytes()).decode()
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "monday.example.com",
                "clientConfig": {"url": f"https://{HOST_ADDRESS}:{port}/", "caBundle": authority},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["deployments"],
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 2,
            }
        ],
    }
