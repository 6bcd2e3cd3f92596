import html
import re

from rich.panel import Panel
from rich.text import Text

from include.page import WIDTH, page_of


def lines_of(page: str) -> list[str]:
    [text] = re.findall(r"<pre>(.*)</pre>", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", text)).splitlines()


def test_no_line_is_longer_than_what_fits_into_the_window():
    lines = lines_of(page_of(Panel("a reason " * 100), "an-id-without-spaces" * 20))

    assert max(map(len, lines)) == WIDTH
    assert sum(line.count("reason") for line in lines) == 100
    assert "".join(lines[-3:]) == "an-id-without-spaces" * 20


def test_links_work_and_what_people_wrote_is_text():
    page = page_of("[link=/evergreen/why/rides]why?[/]", Text("a <script> & more"), above="<img>")

    assert 'href="/evergreen/why/rides"' in page
    assert "a &lt;script&gt; &amp; more" in page
    assert "<body><img><pre>" in page
