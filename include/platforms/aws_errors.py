"""This file says what AWS means by an error: gone at the next try, or for a person to mend, and how."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from include.errors import PlatformError, PlatformRefusedError

EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
}
REMEDIES = {
    "AccessDenied": "Let the identity that Airflow's workers run as do this, or correct `folder` in aws.yaml.",
    "AccessDeniedException": "Let the identity that Airflow's workers run as do this (`iam:PassRole` for `role`, too).",
    "ValidationException": "Correct that in config/platforms/aws.yaml or in the profile of config/accelerators.yaml.",
    "NoSuchBucket": "Make the bucket, or correct `folder` in config/platforms/aws.yaml.",
    "ResourceLimitExceeded": "Ask for more of it under Service Quotas (SageMaker, 'for training job usage'), "
    "or take another profile in `training.accelerator`.",
}


@contextmanager
def said_plainly(doing: str) -> Iterator[None]:
    """Raise what AWS answers within as an error of Evergreen's.

    :param doing: what was tried, such as "submit evergreen-rides-1".
    :raises PlatformRefusedError: if no other try would mend it, with the remedy.
    :raises PlatformError: if another try may.
    """
    try:
        yield
    except ClientError as error:
        code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
        if code in EXPIRED:
            raise PlatformError(
                f"AWS, {doing}: the credentials are not valid any more ({code}). Renew those of Airflow's workers; the "
                "next try goes on with the same job."
            ) from error
        if code in REMEDIES and not _is_of_the_moment(code, message):
            raise PlatformRefusedError(f"AWS, {doing}: {code}: {message} {REMEDIES[code]}") from error
        raise PlatformError(f"AWS, {doing}: {code}: {message} The next try goes on with the same job.") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise PlatformError(
            f"AWS, {doing}: no credentials. Give Airflow's workers a role, or set AWS_PROFILE for them."
        ) from error
    except BotoCoreError as error:
        raise PlatformError(f"AWS, {doing}: {error} The next try goes on with the same job.") from error


def code_of(error: ClientError) -> str:
    """Return AWS' name of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_unknown(error: ClientError) -> bool:
    """Tell whether SageMaker knows nothing of that name: it has no code of its own for it."""
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    return code_of(error) in {"ResourceNotFound", "ValidationException"} and (
        "not found" in message or "could not find" in message
    )


def _is_of_the_moment(code: str, message: str) -> bool:
    # "The account-level service limit '…' is 0 Instances" never goes by; that of 2, with current utilization of 2, does
    # as soon as another job has ended.
    return code == "ResourceLimitExceeded" and "is 0 Instances" not in message
