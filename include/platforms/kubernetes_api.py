"""This file talks to a cluster's API: things in and out are as the API writes them, errors are Evergreen's own."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlencode

from include.errors import PlatformError, PlatformRefusedError
from include.platforms.kubernetes_settings import KubernetesSettings

Found = dict[str, Any]

PATHS = {
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    # What `check` looks at.
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Node": "/api/v1/nodes",
    "SelfSubjectAccessReview": "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
}
TIMEOUT = (5, 30)  # seconds to connect, and for an answer
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1"
SILENCE = 60  # seconds without a line after which a log is asked for again

AGAIN = {401, 408, 409, 429}  # credentials are renewed, throttling ends
REMEDIES = {
    401: "The credentials are expired or wrong: renew those of the kubeconfig.",
    403: "Give the Role of docs/kubernetes.md to who Airflow's workers are, or raise the namespace's quota.",
    404: "Does the namespace exist, and is the cluster at least 1.31?",
    422: "Mend config/platforms/kubernetes.yaml; docs/kubernetes.md says what is made of it.",
}


class Api:
    """One namespace of a cluster.

    :param timeout: seconds to connect, and for an answer.
    :raises PlatformRefusedError: if there is no kubeconfig that says where it is.
    """

    def __init__(self, settings: KubernetesSettings, timeout: tuple[float, float] = TIMEOUT) -> None:
        """Read the credentials; nothing is asked yet."""
        from kubernetes.client.rest import RESTClientObject

        self._namespace, self._timeout = settings.namespace, timeout
        self._configuration = _credentials(settings)
        # Of the client's library: who we are, and TLS. What is said is the API's own JSON, the same in all versions.
        self._pool = RESTClientObject(self._configuration).pool_manager

    def version(self) -> str:
        """Return the cluster's version, such as 1.33."""
        found = self._ask("GET", "/version") or {}
        return f"{found['major']}.{found['minor']}"

    def exists(self, kind: str, name: str) -> bool:
        """Tell whether there is a thing of that name; what is in it, a password perhaps, is not asked for.

        :raises PlatformRefusedError: if that may not be known.
        """
        return self._ask("GET", f"{PATHS[kind]}/{name}", accept=METADATA) is not None

    def create(self, manifest: Mapping[str, Any]) -> Found | None:
        """Create a thing and return it; None if there is one of that name.

        :raises PlatformRefusedError: if the cluster will never take it.
        """
        return self._ask("POST", PATHS[manifest["kind"]], manifest, absent=HTTPStatus.CONFLICT)

    def get(self, kind: str, name: str) -> Found | None:
        """Return a thing; None if there is none."""
        return self._ask("GET", f"{PATHS[kind]}/{name}")

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Found]:
        """Return all things with these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self._ask("GET", PATHS[kind], query=[("labelSelector", selector)])
        return list((found or {}).get("items", []))

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Change a thing; one that is gone stays so."""
        self._ask("PATCH", f"{PATHS[kind]}/{name}", change)

    def log(self, pod: str, since: str | None) -> Iterator[str]:
        """Yield the lines of a pod's output, each after its time, until it ends; none if the pod is gone.

        :param since: the time from which on; all if not given.
        """
        query = [("follow", "true"), ("timestamps", "true"), *([("sinceTime", since)] if since else [])]
        with _translated():
            answer = self._send("GET", f"{PATHS['Pod']}/{pod}/log", query, timeout=(TIMEOUT[0], SILENCE))
            rest = b""
            try:
                if _is_absent(answer, HTTPStatus.NOT_FOUND):
                    return
                for part in answer.stream(2**16):
                    *lines, rest = (rest + part).split(b"\n")
                    yield from (line.decode(errors="replace") for line in lines)
            finally:
                answer.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Any = (),
        absent: HTTPStatus = HTTPStatus.NOT_FOUND,
        accept: str = "*/*",
    ) -> Found | None:
        with _translated():
            answer = self._send(method, path, query, body, accept=accept)
            try:
                return None if _is_absent(answer, absent) else dict(json.loads(answer.read()))
            finally:
                answer.drain_conn()  # unread, it would be taken for the next answer
                answer.release_conn()

    def _send(  # noqa: PLR0913 - one for each part of a request
        self, method: str, path: str, query: Any, body: Any = None, timeout: Any = None, accept: str = "*/*"
    ) -> Any:
        from urllib3 import Timeout

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        token = self._configuration.auth_settings().get("BearerToken")  # renewed, where the kubeconfig says how
        return self._pool.request(
            method,
            f"{self._configuration.host}{path.format(namespace=self._namespace)}?{urlencode(query)}",
            body=json.dumps(body) if body is not None else None,
            headers={"Content-Type": kind, "Accept": accept, **({"Authorization": token["value"]} if token else {})},
            timeout=Timeout(*(timeout or self._timeout)),
            retries=False,  # the caller tries again, and knows how often
            preload_content=False,
        )


def _credentials(settings: KubernetesSettings) -> Any:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

    configuration = Configuration()
    try:
        if not (settings.kubeconfig or settings.context):
            with suppress(ConfigException):  # not in a cluster
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                return configuration
        load_kube_config(settings.kubeconfig, settings.context, configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        why = str(error).rstrip(".")
        raise PlatformRefusedError(
            f"No cluster is known: {why}. Set `kubeconfig` or `context` in config/platforms/kubernetes.yaml."
        ) from error
    return configuration


def _is_absent(answer: Any, absent: HTTPStatus) -> bool:
    """Tell whether an answer has the status that says there is none (or already one).

    :raises PlatformError: if the next try may go better.
    :raises PlatformRefusedError: if none will.
    """
    if answer.status < HTTPStatus.BAD_REQUEST or answer.status == absent:
        return bool(answer.status == absent)
    said = f"The cluster answered {answer.status}: {_message(answer.read())} {REMEDIES.get(answer.status, '')}"
    is_final = answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in AGAIN
    raise (PlatformRefusedError if is_final else PlatformError)(said.rstrip())


@contextmanager
def _translated() -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError, JSONDecodeError) as error:
        raise PlatformError(f"The cluster does not answer: {error}") from error


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return body[:300].decode(errors="replace")
