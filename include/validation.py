"""This file holds staged partitions against the pipeline's expectations and keeps a page of results for each."""

import difflib
import json
import logging
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the library is imported

import great_expectations as gx  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from great_expectations import expectations as gxe  # noqa: E402
from great_expectations.core import ExpectationSuiteValidationResult  # noqa: E402
from great_expectations.core.batch_definition import BatchDefinition  # noqa: E402
from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: E402
from great_expectations.expectations.expectation import Expectation  # noqa: E402

from include import reports  # noqa: E402
from include.errors import ConfigError  # noqa: E402
from include.pipeline import Pipeline  # noqa: E402
from include.settings import load_settings  # noqa: E402

log = logging.getLogger(__name__)


def validate(pipeline: Pipeline, staged_uri: str, run_key: str) -> dict[str, Any]:
    """Judge every staged day by the pipeline's expectations and write a page of results per day.

    :returns: the days that passed, the refused ones with a readable reason, and each page's path in the lake.
    :raises ConfigError: if the YAML asks for an expectation there is not.
    """
    suite = suite_of(pipeline)
    batches = _batches()
    outcome: dict[str, Any] = {"passed": [], "refused": {}, "reports": {}}
    for day, staged in json.loads(Path(staged_uri).read_text())["days"].items():
        if not staged["files"]:
            why = f": {staged['rules']}" if staged["rules"] else ""
            outcome["refused"][day] = f"no clean rows at all, {staged['quarantined']} quarantined{why}"
            continue
        rows = pd.concat([pq.ParquetFile(path).read().to_pandas() for path in staged["files"]], ignore_index=True)
        result = batches.get_batch({"dataframe": rows}).validate(suite)
        report = Path("reports", "validation", day, f"{run_key}{reports.SUFFIX}")
        reports.write_page(
            load_settings().lake / pipeline.name / report, page_of(pipeline.name, day, len(rows), result)
        )
        outcome["reports"][day] = str(Path(pipeline.name) / report)
        if result.success:
            outcome["passed"].append(day)
        else:
            outcome["refused"][day] = reason_of(result)
            log.warning("Refused %s of %s: %s", day, pipeline.name, outcome["refused"][day])
    log.info("%s: %s days passed, %s refused", pipeline.name, len(outcome["passed"]), len(outcome["refused"]))
    return outcome


def suite_of(pipeline: Pipeline) -> gx.ExpectationSuite:
    """Build the pipeline's suite.

    :raises ConfigError: naming an unknown expectation and those like it, or arguments that do not fit.
    """
    built = [
        _expectation(pipeline.name, name, arguments)
        for entry in pipeline.expectations
        for name, arguments in entry.items()
    ]
    return gx.ExpectationSuite(name=pipeline.name, expectations=built)


def page_of(pipeline_name: str, day: str, num_rows: int, result: ExpectationSuiteValidationResult) -> str:
    """Return a page that shows every expectation with what was expected and found; it needs nothing from elsewhere.

    Great Expectations' own page loads its style from third parties, and weighs 3.7 MB.
    """
    title = f"{pipeline_name}, {day}: {'published' if result.success else 'refused'}"
    rows = []
    for found in result.results:
        check: dict[str, Any] = found.to_json_dict()
        config = check["expectation_config"]
        failed = "" if found.success else _failure(check)
        rows.append(
            (
                ("✔", "good") if found.success else ("✘", "bad"),
                (config["type"], ""),
                (str(config["kwargs"].get("column", "")), ""),
                (_arguments(config), ""),
                (failed or f"{check['result'].get('observed_value', 'no row fails')}", "" if found.success else "bad"),
            )
        )
    headings = ("", "expectation", "column", "expected", "found")
    return reports.page_of(title, reports.table_of(title, headings, rows, f"{num_rows:,} clean rows were judged."))


def reason_of(result: ExpectationSuiteValidationResult) -> str:
    """Say which expectations failed, on which column, what was found and what was expected."""
    return "; ".join(_failure(check.to_json_dict()) for check in result.results if not check.success)


def _expectation(pipeline_name: str, name: str, arguments: dict[str, Any]) -> Expectation:
    known = {_snake(each): each for each in dir(gxe) if each.startswith("Expect")}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise ConfigError(
            f"{pipeline_name}.yaml: 'expectations': there is no '{name}'. Did you mean: {', '.join(close)}?"
        )
    try:
        made: Expectation = getattr(gxe, known[name])(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{pipeline_name}.yaml: 'expectations.{name}': {' '.join(str(error).split())}") from error
    return made


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _batches() -> BatchDefinition[Any]:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return (
        context.data_sources.add_pandas("staged").add_dataframe_asset("day").add_batch_definition_whole_dataframe("day")
    )


def _failure(check: dict[str, Any]) -> str:
    config, found = check["expectation_config"], check["result"]
    arguments = _arguments(config)
    about = f"{config['type']}({config['kwargs'].get('column', 'table')})"
    if error := next((each["exception_message"] for each in _exceptions(check)), None):
        return f"{about}: could not be checked: {error}"
    if "unexpected_count" in found:
        examples = found.get("partial_unexpected_list", [])[:3]
        seen = f"{found['unexpected_count']} of {found['element_count']} rows fail, such as {examples}"
    else:
        seen = f"found {found.get('observed_value')}"
    return f"{about}: {seen}" + (f", expected {arguments}" if arguments else "")


def _arguments(config: dict[str, Any]) -> str:
    given = {key: value for key, value in config["kwargs"].items() if key not in {"batch_id", "column"}}
    return ", ".join(f"{key} {value}" for key, value in given.items())


def _exceptions(check: dict[str, Any]) -> list[dict[str, Any]]:
    info = check.get("exception_info") or {}
    several = [info] if "raised_exception" in info else list(info.values())
    return [each for each in several if isinstance(each, dict) and each.get("raised_exception")]
