"""This file says where deliveries may come from: the types behind `source` in a pipeline's YAML."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from include.strict import Strict

# What tells the kinds of source apart is the key each of them must have.
TELLING_KEYS = {"path": "<files>", "url": "<http>", "connection": "<sql>"}


class Files(Strict):
    """Deliveries that are files: one per day, or several by a pattern."""

    path: str = Field(
        description="Where a delivery lies; `{date}` becomes YYYY-MM-DD, `*` and `?` match several files of a day. A "
        "path in the data folder, an absolute one, or a URL (s3://, gs://, abfs://, …)."
    )
    format: Literal["csv", "jsonl", "parquet"] | None = Field(
        None, description="If the name does not end in .csv, .jsonl or .parquet (each also with .gz)."
    )
    marker: str | None = Field(
        None, description="File with `{date}` in its path whose presence says that a day is complete, like `_SUCCESS`."
    )

    @model_validator(mode="after")
    def _names_a_day_and_a_format(self) -> "Files":
        for path in (self.path, self.marker):
            if path is not None and "{date}" not in path:
                raise ValueError(f"'{path}' has no '{{date}}' in it, so every day would read the same file")
        if self.format is None and format_of(self.path) is None:
            raise ValueError(
                f"'{self.path}' ends in none of .csv, .jsonl, .parquet (or these with .gz): say its 'format'"
            )
        return self


class Sql(Strict):
    """Rows of a database, a day at a time."""

    connection: str = Field(
        description="Airflow connection id; outside Airflow an SQLAlchemy URL in AIRFLOW_CONN_<ID>."
    )
    table: str | None = Field(None, description="Table or `schema.table`; needs `date_column`.")
    date_column: str | None = Field(None, description="The table's date or timestamp column that says a row's day.")
    query: str | None = Field(None, description="Instead of a table: SQL with `:day` and, if wanted, `:next_day`.")

    @model_validator(mode="after")
    def _asks_for_a_day(self) -> "Sql":
        if (self.query is None) == (self.table is None):
            raise ValueError("says both 'table' and 'query', or neither: give one of them")
        if self.table is not None and self.date_column is None:
            raise ValueError("'table' needs 'date_column': the column that says which day a row belongs to")
        if self.query is not None and ":day" not in self.query:
            raise ValueError("'query' has no ':day' in it, so every day would read the same rows")
        return self


class Http(Strict):
    """JSON from a web service, page by page."""

    url: str = Field(pattern="^https?://", description="First page of a day; `{date}` becomes YYYY-MM-DD.")
    items: str | None = Field(
        None, description="Where the rows are in a page, like `data.rows`; none: the page is them."
    )
    next: str | None = Field(
        None, description="Where a page has the URL of the next one, whole or from here (`?page=2`), like `links.next`."
    )
    connection: str | None = Field(
        None, description="Airflow connection with login and password, or with a token as its password."
    )

    @model_validator(mode="after")
    def _has_date(self) -> "Http":
        if "{date}" not in self.url:
            raise ValueError(f"'{self.url}' has no '{{date}}' in it, so every day would read the same pages")
        return self


class Arrival(Strict):
    """When labels arrive, and by which column they find their event."""

    key: str | None = Field(None, description="Column of the labels that names the event; none: the pipeline's `key`.")
    delay_days: int = Field(
        0, ge=0, description="Days labels come after their events. 0: a night waits for both. Above: a day is "
        "published without labels, and again when they have arrived."
    )  # fmt: skip
    wait_days: int = Field(30, ge=0, description="Days beyond the delay that nights still look for missing labels.")


class LabelFiles(Files, Arrival):
    """Labels that are files; `{date}` is the day of the events."""


class LabelSql(Sql, Arrival):
    """Labels in a database; the day is the day of the events."""


class LabelHttp(Http, Arrival):
    """Labels from a web service; `{date}` is the day of the events."""


def _kind(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(value, "__pydantic_fields__", {})
    return next((kind for key, kind in TELLING_KEYS.items() if key in keys), None)


_BY_ITS_KEY = Discriminator(
    _kind,
    custom_error_type="source",
    custom_error_message="Expected one of 'path' (files), 'connection' (a database), 'url' (a web service)",
)
Events = Annotated[
    Annotated[Files, Tag("<files>")] | Annotated[Sql, Tag("<sql>")] | Annotated[Http, Tag("<http>")], _BY_ITS_KEY
]
Labels = Annotated[
    Annotated[LabelFiles, Tag("<files>")] | Annotated[LabelSql, Tag("<sql>")] | Annotated[LabelHttp, Tag("<http>")],
    _BY_ITS_KEY,
]


class Source(Strict):
    """Where a pipeline's data come from."""

    events: Events = Field(description="What is known when a prediction is asked for.")
    labels: Labels | None = Field(
        None, description="What really happened, matched to the events by the key; none: events bring their outcome."
    )
    references: dict[str, str] = Field(default_factory=dict, description="Slow tables, by name: path of a CSV.")

    @property
    def is_local(self) -> bool:
        """Return whether looking for a delivery costs nothing."""
        sources = [each for each in (self.events, self.labels) if each]
        return all(isinstance(each, Files) and "://" not in each.path for each in sources)

    @property
    def connections(self) -> set[str]:
        """Return the connections that the sources name."""
        names = {getattr(each, "connection", None) for each in (self.events, self.labels)}
        return {name for name in names if name}


def format_of(name: str) -> str | None:
    """Return the format a file's name ends in, `.gz` or not."""
    ending = name.removesuffix(".gz").rpartition(".")[2]
    return ending if ending in {"csv", "jsonl", "parquet"} else None
