"""Mail through Amazon SES (API v2, raw messages). boto3 waits in threads, where it does not hold up requests."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol

from isobase_services.auth.messages.model import Mail, SendFailed
from isobase_services.auth.messages.senders.mime import Envelope, Sender, envelope_of

if TYPE_CHECKING:
    from isobase_platform.config_auth.smtp import SesSettings

__all__ = ["SesSender"]

_WORTH_ANOTHER_TRY = frozenset(
    {"TooManyRequestsException", "LimitExceededException", "ThrottlingException", "Throttling", "InternalFailure"}
)
FIRST_SERVER_ERROR = 500


class _SesClient(Protocol):
    def send_email(self, **arguments: object) -> object: ...

    def close(self) -> None: ...


class SesSender:
    """Hands mail to SES. Credentials come from where AWS programs find them: environment, profile, role of the task."""

    def __init__(self, settings: SesSettings, sender: Sender) -> None:
        self._settings = settings
        self._sender = sender
        self._lock = threading.Lock()
        self._client: _SesClient | None = None

    async def send(self, mail: Mail) -> None:
        """See ``MailSender``."""
        await asyncio.to_thread(self._hand_over, envelope_of(mail, self._sender))

    async def close(self) -> None:
        """See ``MailSender``."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def _hand_over(self, envelope: Envelope) -> None:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

        arguments: dict[str, object] = {
            "FromEmailAddress": envelope.sender,
            "Destination": {"ToAddresses": [envelope.recipient]},
            "Content": {"Raw": {"Data": envelope.content}},
        }
        if self._settings.configuration_set is not None:
            arguments["ConfigurationSetName"] = self._settings.configuration_set
        try:
            self._connected().send_email(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            is_permanent = code not in _WORTH_ANOTHER_TRY and status < FIRST_SERVER_ERROR
            raise SendFailed(f"SES answered {code}", is_permanent=is_permanent) from error
        except (NoCredentialsError, NoRegionError) as error:
            raise SendFailed(f"SES is not set up: {error}", is_permanent=True) from error
        except BotoCoreError as error:
            raise SendFailed(f"SES is out of reach: {type(error).__name__}") from error

    def _connected(self) -> _SesClient:
        """The client; making one takes a while and is not safe in two threads at once."""
        import boto3
        from botocore.config import Config

        with self._lock:
            if self._client is None:
                limits = Config(
                    connect_timeout=self._settings.timeout_s,
                    read_timeout=self._settings.timeout_s,
                    retries={"total_max_attempts": 1},  # the outbox tries again
                )
                client: _SesClient = boto3.session.Session().client(
                    "sesv2",
                    region_name=self._settings.region,
                    endpoint_url=self._settings.endpoint_url,
                    config=limits,
                )
                self._client = client
            return self._client
