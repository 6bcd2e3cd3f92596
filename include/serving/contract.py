"""This file describes requests and answers for the endpoint's `/docs`; `instances.py` and the tasks obey."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Asked(BaseModel):
    """A request's body."""

    instances: list[dict[str, str | float | list[Any] | None]] = Field(
        description="One object per row: every feature (null if unknown); if wanted, the event's key and date.",
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


INVOCATION: dict[str, Any] = {
    "responses": {200: {"model": Answers}}
    | {status: {"model": Problem} for status in (400, 401, 403, 404, 413, 422, 429, 500, 503)},
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": Asked.model_json_schema()}}}
    },
}
