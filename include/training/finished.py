"""This file tells whether a request has its model: it imports little, as tasks that train nothing ask for it, too."""

from include import artefact
from include.errors import ArtefactError
from include.training.spec import Spec


def is_finished(spec: Spec) -> bool:
    """Tell whether the spec's request already has its model, whole and unaltered."""
    try:
        manifest = artefact.read_manifest(spec.folder)
        artefact.load_session(spec.folder, manifest["sha256"])
    except ArtefactError:
        return False
    return bool(manifest["request_id"] == spec.request_id)
