"""This file pauses and resumes what Evergreen does by itself, in one pipeline or in all, and says what that means."""

import getpass

from include.ledger import open_ledger, pauses

EVERYTHING = pauses.EVERYTHING


def pause(scope: str, reason: str) -> str:
    """Pause a pipeline, or `EVERYTHING`, and return what a person is told."""
    with open_ledger() as session:
        said = pauses.said(pauses.pause(session, scope, by=getpass.getuser(), reason=reason))
    back = "evergreen resume" if scope == EVERYTHING else f"evergreen resume {scope}"
    return (
        f"{said}.\nNo retraining starts and no model is promoted by itself until `{back}`. Days are still ingested and "
        "measured; what you start by hand (train, deploy, rollback) still runs."
    )


def resume(scope: str) -> str:
    """Take a pause back, and return what a person is told: also what is still paused."""
    with open_ledger() as session:
        ended = pauses.resume(session, scope, by=getpass.getuser())
        left = [each for each in pauses.pauses_of(session) if each.ended_at is None]
    if scope != EVERYTHING:
        left = [each for each in left if each.pipeline == EVERYTHING]
    what = "Evergreen" if scope == EVERYTHING else f"'{scope}'"
    lines = [
        f"{what} was not paused."
        if ended is None
        else f"{what} acts by itself again: `sweep` wakes what has waited within ten minutes, the governor judges the "
        "next publication. To have the newest days judged now, start the monitor DAG by hand."
    ]
    for each in left:
        command = "evergreen resume" if each.pipeline == EVERYTHING else f"evergreen resume {each.pipeline}"
        lines.append(
            f"Still paused: {each.pipeline if each.pipeline != EVERYTHING else 'all pipelines'}. "
            f"{pauses.said(each)}. `{command}` ends that."
        )
    return "\n".join(lines)
