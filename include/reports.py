"""This file keeps pages for people small: gzipped, and with one copy of the drawing library beside all of them."""

import base64
import gzip
from pathlib import Path

from include import atomic

SUFFIX = ".html.gz"
LIBRARY = "library"


def write_page(path: Path, html: str) -> None:
    """Write a page of the lake, gzipped; the path ends with `.html.gz`."""
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(html.encode(), mtime=0))


def write_evidently_page(path: Path, html: str) -> None:
    """Write one of Evidently's pages without the 3.6 MB of script and font that it carries in itself.

    Both lie once in `library/` beside the page's folder, named by version: a page finds what it was made for also after
    an upgrade. If Evidently embeds them in another way one day, its pages are merely large again.
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
    write_page(path, _without_library(html, static, f"../{LIBRARY}/{script}", f"../{LIBRARY}/{font}"))


def _without_library(html: str, static: Path, script_url: str, font_url: str) -> str:
    script = (static / "index.js").read_text(encoding="utf-8")
    font = base64.b64encode((static / "material-ui-icons.woff2").read_bytes()).decode()
    html = html.replace(f"<script>{script}</script>", f'<script src="{script_url}"></script>')
    return html.replace(f"data:font/ttf;base64,{font}", font_url)
