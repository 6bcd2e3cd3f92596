"""This file turns what the terminal shows into an HTML page that fits its window."""

import io

from rich.console import Console, RenderableType

WIDTH = 140  # letters in a line
# A letter is about 0.6 times as wide as its size: a whole line fits into any window that is not very narrow.
STYLE = f"""
body {{margin: 1rem}}
pre {{margin: 0; font: clamp(10px, calc((100vw - 4rem) / {WIDTH} / 0.61), 15px)/1.35 "DejaVu Sans Mono", monospace}}
code {{font: inherit}}
img {{max-width: 100%}}
"""


def page_of(*shown: RenderableType, above: str = "") -> str:
    """Return what a terminal would show as a page that needs nothing from elsewhere.

    :param above: HTML that comes first.
    """
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(*shown)
    text = console.export_html(inline_styles=True, code_format="<pre><code>{code}</code></pre>")
    head = f'<meta charset="utf-8"><title>Evergreen</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{above}{text}</body></html>"
