"""This file keeps pages for people small: gzipped, and with one copy of the drawing library beside all of them."""

import base64
import gzip
import html as markup
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from include import atomic

SUFFIX = ".html.gz"
LIBRARY = "library"
STYLE = """<style>
.evergreen {font: 15px/1.4 system-ui, sans-serif; max-width: 1200px; margin: 1.5em auto; color: #222}
h1.evergreen {font-size: 24px; font-weight: 600}
.evergreen table {border-collapse: collapse}
.evergreen td, .evergreen th {padding: .25em .9em .25em 0; text-align: left}
.evergreen th {border-bottom: 1px solid #999} .evergreen td {border-bottom: 1px solid #ddd; vertical-align: top}
.evergreen .bad {color: #b00020; font-weight: 600} .evergreen .good {color: #1b7f3b}
</style>"""
Cell = tuple[str, str]  # what it says, and "good", "bad" or nothing


def table_of(title: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = "") -> str:
    """Return a heading, a sentence and a table as HTML that needs nothing from elsewhere."""
    head = "".join(f"<th>{markup.escape(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(f'<td class="{mark}">{markup.escape(text)}</td>' for text, mark in row) + "</tr>"
        for row in rows
    )
    return (
        f'<section class="evergreen">{STYLE}<h2>{markup.escape(title)}</h2><p>{markup.escape(note)}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def page_of(title: str, *sections: str) -> str:
    """Return a whole page made of sections."""
    head = f'<meta charset="utf-8"><title>{markup.escape(title)}</title>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(sections)}</body></html>"


def write_page(path: Path, html: str) -> None:
    """Write a page of the lake, gzipped; the path ends with `.html.gz`."""
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(html.encode(), mtime=0))


def write_evidently_page(path: Path, title: str, html: str, summary: str) -> None:
    """Write one of Evidently's pages below a title and a summary, without the 3.6 MB that it carries in itself.

    Its script and font lie once in `library/` beside the page's folder, named by version: a page finds what it was made
    for also after an upgrade. If Evidently embeds them in another way one day, its pages are merely large again.
    """
    # Imported here: Evidently takes seconds, and reading a page needs none of it.
    import evidently  # noqa: PLC0415
    from evidently.legacy.utils import dashboard  # noqa: PLC0415

    static = Path(dashboard.STATIC_PATH)
    library = path.parent.parent / LIBRARY
    script = f"evidently-{evidently.__version__}.js.gz"
    font = f"evidently-{evidently.__version__}.woff2.gz"
    for name, source in ((script, static / "index.js"), (font, static / "material-ui-icons.woff2")):
        if not (library / name).exists():
            with atomic.replacing(library / name) as temporary:
                temporary.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    named = markup.escape(title)
    html = html.replace("<head>", f"<head><title>{named}</title>", 1)
    above = f'<h1 class="evergreen">{named}</h1>{summary}'
    html = re.sub(r"<body[^>]*>", lambda found: found.group() + above, html, count=1)
    write_page(path, _without_library(html, static, f"../{LIBRARY}/{script}", f"../{LIBRARY}/{font}"))


def _without_library(html: str, static: Path, script_url: str, font_url: str) -> str:
    script = (static / "index.js").read_text(encoding="utf-8")
    font = base64.b64encode((static / "material-ui-icons.woff2").read_bytes()).decode()
    html = html.replace(f"<script>{script}</script>", f'<script src="{script_url}"></script>')
    return html.replace(f"data:font/ttf;base64,{font}", font_url)
