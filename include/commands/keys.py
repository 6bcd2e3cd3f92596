"""This file is `evergreen keys`: who may ask the endpoint."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.commands import console
from include.config import load_pipeline
from include.settings import load_settings

if TYPE_CHECKING:
    from include.serving.keys import Key

app = typer.Typer(help="Who may ask the endpoint: everybody, until there is a key.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Whose key it is; the access log shows it.")]


@app.command()
def add(
    name: Name,
    rate: Annotated[
        str | None, typer.Option(help="Requests it may make, such as 100/second; any, if not given.")
    ] = None,
    pipeline: Annotated[
        list[str] | None, typer.Option(help="A pipeline it may ask, several times; all, if none.")
    ] = None,
) -> None:
    """Make a key and show its token, once."""
    from include.serving.keys import add_key

    names = [load_pipeline(each).name for each in pipeline or []]
    _show(name, add_key(load_settings(), name, rate=rate, pipelines=names, now=datetime.now(UTC)))


@app.command()
def rotate(
    name: Name,
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the token before is good as well.")] = 24,
) -> None:
    """Give a key a new token, and show that once."""
    from include.serving.keys import rotate_key

    now, overlap = datetime.now(UTC), timedelta(hours=overlap_hours)
    _show(name, rotate_key(load_settings(), name, overlap=overlap, now=now))
    console.print(f"The token before is good until {now + overlap:%Y-%m-%d %H:%M} UTC.", highlight=False)


@app.command()
def revoke(name: Name) -> None:
    """Make a key worthless at once, both tokens if it is being rotated."""
    from include.serving.keys import keys_path, revoke_key

    settings = load_settings()
    num_left = revoke_key(settings, name)
    console.print(f"'{name}' may no longer ask.", markup=False)
    if not num_left:
        remedy = f"Add one, or remove {keys_path(settings)} to let everybody in."
        console.print(f"No key is left: nobody may ask. {remedy}", markup=False, highlight=False, soft_wrap=True)


@app.command("list")
def list_keys() -> None:
    """Show the keys; never their tokens, which are kept nowhere."""
    from include.serving.keys import keys_path, read_keys

    found, now = read_keys(load_settings()), datetime.now(UTC)
    table = Table("name", "made", "good until", "rate", "pipelines", box=None)
    for key in sorted(found, key=lambda key: (key.name, key.made_at)):
        table.add_row(
            key.name,
            f"{key.made_at:%Y-%m-%d %H:%M}",
            _until(key, now),
            key.rate or "any",
            ", ".join(key.pipelines or ["all"]),
        )
    nobody = "There is no key: " + ("nobody may ask." if keys_path(load_settings()).exists() else "everybody may ask.")
    console.print(table if found else nobody)


def _until(key: "Key", now: datetime) -> str:
    if key.expires_at is None:
        return "it is revoked"
    return "over" if key.is_expired(now) else f"{key.expires_at:%Y-%m-%d %H:%M}"


def _show(name: str, token: str) -> None:
    console.print(f"The token of '{name}', shown this once:", markup=False)
    console.print(token, markup=False, highlight=False, soft_wrap=True)
    console.print("The endpoint takes it as 'Authorization: Bearer …' within a second.", markup=False)
