"""This file serves Evergreen's page and reports inside Airflow's UI, to people who are logged in."""

from pathlib import Path

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from include.config import load_pipeline
from include.errors import ConfigError
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
    from include.why import why_page

    try:
        return HTMLResponse(why_page(load_pipeline(pipeline)))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/reports/{path:path}")
def report(path: str, user: GetUserDep) -> FileResponse:  # noqa: ARG001 - only people who are logged in
    """Serve one HTML report of the lake."""
    lake: Path = load_settings().lake.resolve()
    file = (lake / path).resolve()
    if file.suffix != ".html" or "reports" not in file.parts or not file.is_relative_to(lake) or not file.is_file():
        raise HTTPException(404, f"No report at {path}.")
    # A report shows what was delivered: its scripts must not act in Airflow's name.
    return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": "sandbox allow-scripts"})
