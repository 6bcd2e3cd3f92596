"""This file reads a SageMaker job's output as it grows, from CloudWatch."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.platforms.aws_errors import code_of

GROUP = "/aws/sagemaker/TrainingJobs"


class Logs:
    """The log streams of one job: one for each machine that it has had."""

    def __init__(self, client: Any, name: str) -> None:
        self._logs = client
        self._name = name
        self._tokens: dict[str, str | None] = {}
        self._complained = False

    def new_lines(self) -> Iterator[str]:
        """Yield the lines that came since the last call; a training is not lost because its log cannot be read."""
        try:
            streams = self._logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{self._name}/")
            for stream in sorted(each["logStreamName"] for each in streams["logStreams"]):
                yield from self._lines_of(stream)
        except (ClientError, BotoCoreError) as error:
            is_early = isinstance(error, ClientError) and code_of(error) == "ResourceNotFoundException"
            if not is_early and not self._complained:
                self._complained = True
                yield f"Its log cannot be read, the job goes on: {error}"

    def _lines_of(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            asked = {"nextToken": token} if token else {}
            answer = self._logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True, **asked)
            for event in answer["events"]:
                yield str(event["message"]).rstrip("\n")
            self._tokens[stream] = answer["nextForwardToken"]
            if not answer["events"] or answer["nextForwardToken"] == token:
                return
