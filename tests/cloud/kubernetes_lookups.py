"""What `evergreen plan --check` asks a cluster, answered as its API does: version, what is there, who may do what."""

from typing import Any

import kubernetes_validate

VERSION = {"major": "1", "minor": "33"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1"
Answer = tuple[int, Any]


class Looks:
    """What there is beside Jobs, and what these credentials may do."""

    def __init__(self) -> None:
        self.namespaces = {"evergreen"}
        self.accounts = {"evergreen-training"}
        self.nodes: list[dict[str, str]] = [{}]  # their labels
        self.denied: set[tuple[str, str]] = set()  # verb, resource (with its subresource)
        self.may_look = True  # at more than the Role of docs/kubernetes.md allows

    def answer(self, path: str, query: dict[str, str], body: Any, accept: str, secrets: set[str]) -> Answer | None:
        """Return status and body; None for what is not answered here."""
        if path == "/version":
            return 200, VERSION
        if path == REVIEWS:
            return self._review(body)
        parts = path.removeprefix("/api/v1/").split("/")
        there = {"namespaces": self.namespaces, "serviceaccounts": self.accounts, "secrets": secrets}
        if parts == ["nodes"]:
            return self._nodes(query) if self.may_look else (403, "nodes is forbidden")
        if len(parts) in {2, 4} and parts[-2] in there:
            if not self.may_look:
                return 403, f"{parts[-2]} is forbidden"
            assert accept == METADATA, "what is in it is nobody's business"
            meta = {"kind": "PartialObjectMetadata", "metadata": {"name": parts[-1]}}
            return (200, meta) if parts[-1] in there[parts[-2]] else (404, f"{parts[-1]} not found")
        return None

    def _nodes(self, query: dict[str, str]) -> Answer:
        wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        items = [{"metadata": {"labels": labels}} for labels in self.nodes if wanted.items() <= labels.items()]
        return 200, {"kind": "NodeList", "items": items}

    def _review(self, body: Any) -> Answer:
        kubernetes_validate.validate(body, "1.33", strict=True)
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
        is_allowed = asked["namespace"] in self.namespaces and (asked["verb"], resource) not in self.denied
        return 201, {**body, "status": {"allowed": is_allowed}}
