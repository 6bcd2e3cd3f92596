from rich.console import Console

from include.onboarding import show


def test_what_looks_like_markup_is_shown_as_it_is():
    console = Console(width=100)
    with console.capture() as captured:
        console.print(show.checks([("cleaning.rules.[a]", "", "expected [a-z]")]))

    assert "cleaning.rules.[a]  expected [a-z]" in captured.get()
