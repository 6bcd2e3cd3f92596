"""This file reads config/platforms/aws.yaml: the account's own names of what a training on SageMaker needs."""

import yaml
from pydantic import Field, ValidationError

from include.errors import ConfigError
from include.settings import load_settings
from include.strict import Strict
from include.yaml_text import parse_yaml


class AwsSettings(Strict):
    """Where on AWS trainings run, as whom, and behind which walls."""

    region: str = Field(min_length=1, description="Such as eu-central-1.")
    role: str = Field(pattern=r"^arn:aws[\w-]*:iam::\d{12}:role/.+$", description="What the job runs as.")
    image: str = Field(min_length=1, description="The train image in ECR; by digest it is always the same one.")
    folder: str = Field(pattern=r"^s3://[^/]+/.+[^/]$", description="Where jobs are sent their rows and leave models.")
    subnets: list[str] = Field(min_length=1, description="Private ones: the job has no other way out.")
    security_groups: list[str] = Field(min_length=1, description="What it may talk to.")
    kms_key: str | None = Field(None, description="Of what is written to `folder`; none: the bucket's own.")
    volume_kms_key: str | None = Field(None, description="Of the machine's volume; kinds with a local disk take none.")
    volume_gb: int = Field(50, ge=1, description="Room for rows, checkpoints and the model.")

    @property
    def bucket(self) -> str:
        """Return the bucket of `folder`."""
        return self.folder.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Return where in the bucket `folder` is."""
        return self.folder.removeprefix("s3://").partition("/")[2]


def aws_settings() -> AwsSettings:
    """Read the settings.

    :raises ConfigError: if the file is not readable, saying which key is wrong.
    """
    path = load_settings().platforms / "aws.yaml"
    try:
        return AwsSettings.model_validate(parse_yaml(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: not readable as settings of AWS: {error} See docs/platforms.md.") from error
