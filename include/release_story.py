"""This file tells a release's story in words: what the gate said of it, and what has become of it since."""

from include.ledger import Release


def gate_said(release: Release) -> str:
    """Return the gate's words about a release, whatever has happened to it since."""
    return str(release.gate.get("reason") or release.note)


def since_then(release: Release) -> str:
    """Return what happened to a release last; empty if nothing has since the gate spoke."""
    return "" if release.note == gate_said(release) else release.note


def ended(release: Release) -> str:
    """Return how a release came to nothing, and why; empty if it did not."""
    by_hand = "was rolled back by hand" + ("" if release.serving_at else " while it was tried")
    ways = {"rejected": "was rejected", "failed": "has failed", "rolled_back": by_hand}
    return f"{release.id} {ways[release.status]}: {release.note}" if release.status in ways else ""
