"""This file is a stand-in for a Kubernetes API server on a port of this machine: behind it, Jobs really run.

It takes what the official schemas of a version take (kubernetes-validate, strictly), and answers as the API does for
what Evergreen asks: create, get, list by labels, merge-patch, a pod's log with follow, timestamps and
sinceTime. It does not watch or delete, for nobody asks. Bad moments are put in by hand.
"""

import json
import re
import threading
import time
from collections import deque
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml
from kubernetes_validate import utils as schemas

from include.platforms.kubernetes_settings import Egress, KubernetesSettings
from tests.cloud.kubernetes_cluster import Cluster
from tests.cloud.kubernetes_lookups import Looks

VERSION = "1.33"
schemas.schema_contents = cache(schemas.schema_contents)  # else megabytes of JSON are read for each manifest
KINDS = {
    "jobs": "Job",
    "pods": "Pod",
    "services": "Service",
    "networkpolicies": "NetworkPolicy",
    "configmaps": "ConfigMap",
}
PATH = re.compile(
    r"(?:/api/v1|/apis/[^/]+/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>\w+)(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
TOKEN = "a-token"  # noqa: S105
# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/: what of a Job may change.
MAY_CHANGE = {"suspend", "parallelism", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"}
CUT, LOST = "cut", "lost"  # the connection, before anything was done; the answer, after it


class KubernetesApi(Cluster):
    """The API of one cluster with one namespace, `evergreen`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.token, self.looks = TOKEN, Looks()
        self.faults: deque[int | str] = deque()  # the next answers: a status, `CUT` or `LOST`
        self.cut_log_after: int | None = None  # lines; once
        self.manifests: list[str] = []  # all that was asked to be created, as text
        self.sent: list[str] = []  # all that was asked, as text
        handler = type("Bound", (Handler,), {"cluster": self})
        self.server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        super().close()

    def kubeconfig(self, path: Path) -> str:
        """Write one that leads here, and return its path."""
        named = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **named}))
        return str(path)


def settings_of(cluster: KubernetesApi, folder: Path, **changes: Any) -> KubernetesSettings:
    """Return the platform's settings for that cluster, with a folder as storage."""
    return KubernetesSettings(
        flavour="gke",
        namespace="evergreen",
        image="registry.example.com/evergreen-train:0.1.0",
        service_account="evergreen-training",
        storage=f"file://{folder}/storage",
        kubeconfig=cluster.kubeconfig(folder / "kubeconfig"),
        tracking_url="http://127.0.0.1:1",  # nobody there: the model is told of later
        secrets=["mlflow-login"],
        egress=[Egress(cidr="10.0.0.0/8")],
        **changes,
    )


class Server(ThreadingHTTPServer):
    """A thread for each connection, one that breaks off is no news."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Be quiet."""


class Handler(BaseHTTPRequestHandler):
    """One request after the other of one connection."""

    cluster: KubernetesApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Be quiet."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        text = self.rfile.read(length).decode()
        self.cluster.sent.append(f"{self.path} {text}")
        body = json.loads(text) if text else {}
        url = urlsplit(self.path)
        found, query = PATH.fullmatch(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
        fault = self.cluster.faults.popleft() if self.cluster.faults else 0
        self.is_lost = fault == LOST
        if fault == CUT:
            self.close_connection = True
        elif isinstance(fault, int) and fault:
            self._refuse(fault, "injected")
        elif self.headers.get("Authorization") != f"Bearer {self.cluster.token}":
            self._refuse(401, "Unauthorized")
        elif answer := self._look(url.path, query, body):
            self._say(*answer)
        elif found is None or found["namespace"] != "evergreen":
            self._refuse(404 if found is None else 403, f"no {url.path} here")
        elif found["log"]:
            self._log(found["name"], query)
        else:
            with self.cluster.lock:
                getattr(self, f"_{self.command.lower()}")(KINDS[found["kind"]], found["name"], body, query)

    def _look(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any] | None:
        accept, secrets = self.headers.get("Accept", ""), set(self.cluster.secrets)
        status, told = self.cluster.looks.answer(path, query, body, accept, secrets) or (0, None)
        if isinstance(told, str):
            told = {"kind": "Status", "status": "Failure", "message": told, "code": status}
        return (status, told) if status else None

    def _post(self, kind: str, _name: None, body: Any, _query: Any) -> None:
        self.cluster.manifests.append(json.dumps(body))
        if problem := problem_of(body):
            self._refuse(422, problem)
        elif (kind, body["metadata"]["name"]) in self.cluster.things:
            self._refuse(409, f"{kind} {body['metadata']['name']} already exists")
        else:
            self._say(201, self.cluster.add(body))

    def _get(self, kind: str, name: str | None, _body: Any, query: dict[str, str]) -> None:
        if name is None:
            wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
            items = [
                each for each in self.cluster.of_kind(kind) if wanted.items() <= each["metadata"]["labels"].items()
            ]
            self._say(200, {"kind": f"{kind}List", "items": items})
        elif thing := self.cluster.things.get((kind, name)):
            self._say(200, thing)
        else:
            self._refuse(404, f"{kind} {name} not found")

    def _patch(self, kind: str, name: str, body: Any, _query: Any) -> None:
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        if thing := self.cluster.things.get((kind, name)):
            if fixed := set(body["spec"]) - MAY_CHANGE:
                self._refuse(422, f"spec: Invalid value: {sorted(fixed)}: field is immutable")
                return
            thing["spec"] |= body["spec"]
            self._say(200, thing)
        else:
            self._refuse(404, f"{kind} {name} not found")

    def _log(self, name: str, query: dict[str, str]) -> None:
        process = self.cluster.processes.get(name)
        if process is None:
            self._refuse(404, f"pods {name} not found")
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since, sent = query.get("sinceTime", "")[:19], 0  # whole seconds
        while True:
            is_over = process.ended() is not None
            for at, line in process.lines[sent:]:
                sent += 1
                if at[:19] >= since:
                    self._chunk(f"{at} {line}\n".encode())
                if sent == self.cluster.cut_log_after:
                    self.cluster.cut_log_after, self.close_connection = None, True
                    return
            if is_over:
                self._chunk(b"")
                return
            time.sleep(0.02)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _say(self, status: int, thing: Any) -> None:
        if self.is_lost:
            self.close_connection = True
            return
        content = json.dumps(thing).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, message: str) -> None:
        self._say(status, {"kind": "Status", "status": "Failure", "message": message, "code": status})


def problem_of(manifest: Any) -> str | None:
    """Return why the API would not take a manifest: the schema's word, or what schemas do not say of names."""
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    metadata = manifest["metadata"]
    for value in metadata["labels"].values():
        if not VALUE.fullmatch(value):
            return f"metadata.labels: Invalid value: {value}"
    if not NAME.fullmatch(metadata["name"]):
        return f"metadata.name: Invalid value: {metadata['name']}"
    for owner in metadata.get("ownerReferences", []):
        if not owner.get("uid"):
            return "metadata.ownerReferences.uid: Required value"
    return None
