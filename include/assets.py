"""This file names the assets that wake one stage after another; each event's partition key is a ledger row's id."""

from typing import NamedTuple

from airflow.sdk import Asset


class Assets(NamedTuple):
    """The four announcements of one pipeline."""

    features: Asset
    retrain: Asset
    model: Asset
    endpoint: Asset


def assets_of(pipeline_name: str) -> Assets:
    """Return the assets of one pipeline."""
    return Assets(*(Asset(f"{pipeline_name}.{thing}", group=thing) for thing in Assets._fields))
