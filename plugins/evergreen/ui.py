"""This file serves Evergreen's page and reports inside Airflow's UI, to people who are logged in."""

from pathlib import Path

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from include.config import load_pipeline
from include.errors import ConfigError
from include.reports import LIBRARY, SUFFIX
from include.settings import load_settings

app = FastAPI(title="Evergreen")


@app.get("/status")
def status(user: GetUserDep) -> HTMLResponse:  # noqa: ARG001 - only people who are logged in
    """Show every pipeline's champion, newest days, decisions and reports."""
    from include.status import status_page

    return HTMLResponse(status_page())


@app.get("/why/{pipeline}")
def why(pipeline: str, user: GetUserDep) -> HTMLResponse:  # noqa: ARG001 - only people who are logged in
    """Say why a pipeline has no new model, why it has this one, and what can be done."""
    from include.why_view import why_page

    try:
        return HTMLResponse(why_page(load_pipeline(pipeline)))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/history/{pipeline}")
def history(pipeline: str, user: GetUserDep) -> HTMLResponse:  # noqa: ARG001 - only people who are logged in
    """Show quality, its estimate and drift of every measured day, as a plot and a table."""
    from include.history import history_page

    try:
        return HTMLResponse(history_page(load_pipeline(pipeline)))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/reports/{pipeline}/reports/library/{name}")
def library(pipeline: str, name: str) -> FileResponse:
    """Serve the drawing library that reports share: published code, no data.

    A sandboxed page has no origin of its own: its browser sends no login along, and asks for leave to use the font.
    """
    file = _file_of(f"{pipeline}/reports/{LIBRARY}/{name}")
    if file is None or not name.endswith((".js.gz", ".woff2.gz")) or file.parent.name != LIBRARY:
        raise HTTPException(404, f"No library at {name}.")
    kind = "text/javascript" if name.endswith(".js.gz") else "font/woff2"
    keep = {"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*"}
    return FileResponse(file, media_type=kind, headers={"Content-Encoding": "gzip", **keep})


@app.get("/reports/{path:path}")
def report(path: str, user: GetUserDep) -> FileResponse:  # noqa: ARG001 - only people who are logged in
    """Serve one HTML report of the lake."""
    file = _file_of(path)
    if file is None or not file.name.endswith(SUFFIX) or "reports" not in file.parts:
        raise HTTPException(404, f"No report at {path}.")
    # A report shows what was delivered: its scripts must not act in Airflow's name.
    headers = {"Content-Security-Policy": "sandbox allow-scripts", "Content-Encoding": "gzip"}
    return FileResponse(file, media_type="text/html", headers=headers)


def _file_of(path: str) -> Path | None:
    lake: Path = load_settings().lake.resolve()
    file = (lake / path).resolve()
    return file if file.is_relative_to(lake) and file.is_file() else None
