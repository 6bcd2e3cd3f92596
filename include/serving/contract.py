"""This file describes requests and answers for the endpoint's `/docs`, and what each served model wants to know."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from include.serving.model import Models, Served
from include.serving.seen import Seen


class Asked(BaseModel):
    """A request's body."""

    instances: list[dict[str, str | float | list[Any] | None]] = Field(
        description="One object per row: every feature (null if unknown), the event's key and its date. Without a key "
        "one is invented, by which no label finds the answer; without a date today counts. Further fields are ignored.",
        examples=[[{"flight_id": "20130722T10-UA1545", "carrier": "UA", "distance": 1400}]],
    )


class Answer(BaseModel):
    """One row's answer, with the event's key under the key column's own name."""

    model_config = ConfigDict(extra="allow")

    answer_id: str = Field(description="Names this answer among the captured ones.")
    prediction: float | str = Field(
        description="binary: the probability that the target is true; multiclass: the likeliest class; regression: the "
        "value, in the target's unit."
    )
    probabilities: dict[str, float] | None = Field(
        None, description="multiclass only: the probability of each class, by name."
    )


class Answers(BaseModel):
    """The answers of one version, in the order of the instances."""

    pipeline: str
    version: int
    predictions: list[Answer]


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str
    field: str | None
    row: int | None


ARROW_STREAM = "application/vnd.apache.arrow.stream"
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `evergreen keys add` has shown it."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, another way."},
}
INVOCATION: dict[str, Any] = {
    "responses": {200: {"model": Answers}}
    | {status: {"model": Problem} for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503)},
    "openapi_extra": {
        "security": [{}, *({name: []} for name in _KEYS)],  # none is needed before there is a key
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": Asked.model_json_schema()},
                ARROW_STREAM: {"schema": {"type": "string", "format": "binary"}},
            },
        },
    },
}


def with_models(page: dict[str, Any], models: Models) -> dict[str, Any]:
    """Return the description with the keys, and a page for each served model: its columns, what training has seen."""
    paths = dict(page["paths"])
    for name in models.known():
        if service := models.service(name):
            served = service.champion
            page_of_all = paths["/invocations/{pipeline}"]["post"]
            rows = {"type": "array", "items": _row_schema(served)}
            body = {"type": "object", "required": ["instances"], "properties": {"instances": rows}}
            content = {**page_of_all["requestBody"]["content"], "application/json": {"schema": body}}
            paths[f"/invocations/{name}"] = {
                "post": {
                    **{key: value for key, value in page_of_all.items() if key != "parameters"},
                    "operationId": f"invoke_{name}",
                    "summary": f"Ask {name}, version {served.version}",
                    "description": f"Predict {served.target} for each of `instances`.",
                    "requestBody": {"required": True, "content": content},
                }
            }
    return {**page, "paths": paths, "components": {**page["components"], "securitySchemes": _KEYS}}


def _row_schema(served: Served) -> dict[str, Any]:
    """Return what a row holds; ranges and categories are what training has seen, others are answered, too."""
    features, seen = served.features, served.seen
    columns: dict[str, Any] = {}
    for name in features.numeric:
        columns[name] = {"type": ["number", "null"], "description": _range(seen.get(name))}
    for name in features.categorical:
        columns[name] = {"type": ["string", "null"], "description": _examples(seen.get(name))}
    for name in features.text:
        columns[name] = {"type": ["string", "null"], "description": "Any text."}
    for name, image in features.image.items():
        shape = f"{image.height} x {image.width} x {image.channels}"
        columns[name] = {
            "type": ["string", "array", "null"],
            "description": f"A picture in base64, or its {shape} values.",
        }
    told = {
        served.key: {
            "type": ["string", "integer", "null"],
            "description": "Names the event, for its label to find this answer. If it is left out, one is invented, "
            "and no label ever does.",
        },
        served.date: {
            "type": ["string", "null"],
            "format": "date",
            "description": "The event's day; today, if left out.",
        },
    }
    return {"type": "object", "required": list(columns), "properties": columns | told}


def _range(seen: Seen | None) -> str:
    if not isinstance(seen, tuple):
        return "A number; null if it is not known."
    return f"In training between {seen[0]:g} and {seen[1]:g}; null if it is not known."


def _examples(seen: Seen | None) -> str:
    if not isinstance(seen, list):
        return "A category; null if it is not known."
    return f"In training most often {', '.join(map(repr, seen))}; null if it is not known."
