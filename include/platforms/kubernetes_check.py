"""This file looks whether a cluster has what a training needs: it asks, and leaves nothing behind.

What these credentials may not look at is said to be unknown, not wrong: Airflow's workers need no right to look.
"""

from collections.abc import Callable, Iterator

from include.errors import PlatformError, PlatformRefusedError
from include.finding import PATIENCE, Finding, looked_at, ok, problem, unsure, within
from include.platforms.kubernetes_api import Api
from include.platforms.kubernetes_settings import KubernetesSettings
from include.platforms.manifests import Manifest
from include.platforms.touching import touched

YAML = "config/platforms/kubernetes.yaml"
QUICK = (3, 5)  # seconds to connect, and for an answer: a person waits
OLDEST = (1, 31)
# The Role of docs/kubernetes.md: group, resource, verbs.
RIGHTS = (
    ("batch", "jobs", ("create", "get", "list", "patch", "delete")),
    ("networking.k8s.io", "networkpolicies", ("create",)),
    ("", "services", ("create",)),
    ("", "configmaps", ("create",)),
    ("", "pods", ("list",)),
    ("", "pods/log", ("get",)),
)


def check_cluster(job: Manifest, settings: KubernetesSettings) -> Iterator[Finding]:
    """Yield what was found of each thing that a Job needs; of a cluster that does not answer, no more."""
    answer, api = _reached(settings)
    yield answer
    if api is None:
        yield unsure("all else of the cluster", "not looked at: it does not answer")
    else:
        yield _namespace(api, settings.namespace)
        yield from _rights(api, settings.namespace)
        yield _named(api, "ServiceAccount", settings.service_account, "service_account")
        yield from (_named(api, "Secret", name, "secrets") for name in settings.secrets)
        yield _nodes(api, job["spec"]["template"]["spec"]["nodeSelector"])
    yield looked_at(
        "storage",
        lambda: touched(settings.storage),
        f"Let Airflow's workers list, read, write and delete there, or correct `storage` in {YAML}.",
        seconds=2 * PATIENCE,  # it has its own end
    )
    yield unsure(
        "pods",
        "whether they may pull the image, and whether their service account reaches the storage, shows only in a pod",
    )
    yield unsure(
        "NetworkPolicy",
        "no API says whether the cluster's network enforces it",
        "Try it once: a pod with such a policy must not reach an address that it does not name",
    )


def _reached(settings: KubernetesSettings) -> tuple[Finding, Api | None]:
    try:
        api = within(PATIENCE, lambda: Api(settings, QUICK))  # a kubeconfig may run a program for its token
        version = api.version()
    except PlatformRefusedError as error:
        return problem("cluster", str(error)), None
    except (PlatformError, TimeoutError) as error:
        remedy = f"Let this machine reach it, or correct `kubeconfig` or `context` in {YAML}."
        return problem("cluster", str(error), remedy), None
    if tuple(int("".join(filter(str.isdigit, part))) for part in version.split(".")) < OLDEST:
        return problem("cluster", f"it is of version {version}", "Take 1.31 or newer."), api
    return ok("cluster", f"answers, version {version}"), api


def _namespace(api: Api, name: str) -> Finding:
    return _looked_up(
        "namespace", lambda: api.exists("Namespace", name), name, f"Make it, or correct `namespace` in {YAML}."
    )


def _named(api: Api, kind: str, name: str, key: str) -> Finding:
    remedy = f"Make it in the namespace, or correct `{key}` in {YAML}."
    return _looked_up(kind, lambda: api.exists(kind, name), name, remedy)


def _looked_up(what: str, is_there: Callable[[], bool], name: str, remedy: str) -> Finding:
    try:
        return ok(what, f"{name} is there") if is_there() else problem(what, f"{name} is not there", remedy)
    except PlatformRefusedError:
        return unsure(
            what, f"{name}: these credentials may not look", f"`kubectl get {what.lower()} {name}` tells whoever may"
        )
    except PlatformError as error:
        return problem(what, str(error), "Look again later.")


def _rights(api: Api, namespace: str) -> Iterator[Finding]:
    """Yield for each resource whether these credentials may do to it what is needed, as the cluster itself judges."""
    for group, resource, verbs in RIGHTS:
        what = f"right to {resource}"
        try:
            missing = [verb for verb in verbs if not _may(api, namespace, group, resource, verb)]
        except (PlatformError, PlatformRefusedError) as error:
            yield problem(what, str(error), "Look again later.")
            continue
        if missing:
            yield problem(
                what, f"may not {', '.join(missing)}", "Give the Role of docs/kubernetes.md to these credentials."
            )
        else:
            yield ok(what, ", ".join(verbs))


def _may(api: Api, namespace: str, group: str, resource: str, verb: str) -> bool:
    name, _, subresource = resource.partition("/")
    asked = {"namespace": namespace, "group": group, "resource": name, "subresource": subresource, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    found = api.create(review) or {}
    return bool(found["status"]["allowed"])


def _nodes(api: Api, labels: dict[str, str]) -> Finding:
    wanted = ", ".join(f"{key}={value}" for key, value in labels.items()) or "any label"
    try:
        number = len(api.list("Node", labels))
    except PlatformRefusedError:
        return unsure(
            "nodes",
            f"with {wanted}: these credentials may not list them",
            "`kubectl get nodes --show-labels` tells whoever may",
        )
    except PlatformError as error:
        return problem("nodes", str(error), "Look again later.")
    if number:
        return ok("nodes", f"{number} with {wanted}")
    return unsure("nodes", f"none with {wanted} now", f"Right where an autoscaler makes them; else correct {YAML}")
