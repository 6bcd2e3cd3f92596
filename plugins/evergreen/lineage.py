"""This file adds to OpenLineage's events what Airflow cannot know: which snapshot, which version of the model.

Loaded by the OpenLineage provider's listener alone, where a transport is set (docs/events.md).
"""

from typing import Any

from airflow.providers.openlineage.extractors.base import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

from include.lineage import Thing, lineage_of

NAMESPACE = "evergreen"


class StageExtractor(BaseExtractor):
    """Say what the last task of a stage has read and made, when it has succeeded."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        """Return the kind of task that ends a stage."""
        return ["_PythonDecoratedOperator"]

    def _execute_extraction(self) -> OperatorLineage[Any, Any]:
        return OperatorLineage()

    def extract_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:  # noqa: ARG002 - the provider's signature
        """Say nothing: what a failed task has made is not known."""
        return OperatorLineage()

    def extract_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return inputs and outputs, each with its version."""
        key = task_instance.get_template_context()["dag_run"].partition_key
        found = lineage_of(task_instance.dag_id, task_instance.task_id, task_instance.run_id, key)
        return OperatorLineage(
            inputs=[_versioned(InputDataset, each) for each in found.inputs],
            outputs=[_versioned(OutputDataset, each) for each in found.outputs],
        )


def _versioned(kind: type[Any], thing: Thing) -> Any:
    return kind(
        namespace=NAMESPACE,
        name=thing.name,
        facets={"version": DatasetVersionDatasetFacet(datasetVersion=thing.version)},
    )
