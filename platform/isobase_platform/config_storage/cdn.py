"""Settings of what lies between storage and its readers: a content delivery network, and how long copies are good."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from isobase_platform.config_group import SettingsGroup

__all__ = ["CdnSettings"]


class CdnSettings(SettingsGroup):
    """The content delivery network before the gateway, such as CloudFront."""

    url: str | None = None
    """The network's address, in the place of the gateway's in public URLs that are given out; its origin is the gateway."""
    purge_url: str | None = None
    """Told by `POST {purge_url}/purge` what `DELETE /storage/v1/cdn/...` drops; upstream's `CDN_PURGE_ENDPOINT_URL`."""
    purge_key: SecretStr | None = None
    """Sent there as bearer token."""
    purge_timeout_s: float = Field(default=10.0, gt=0)
    """How long the purge endpoint, or CloudFront, may take to answer."""
    cloudfront_distribution_id: str | None = None
    """A CloudFront distribution that drops what `DELETE /storage/v1/cdn/...` names; credentials as AWS's tools find them."""
    cloudfront_endpoint_url: str | None = None
    """CloudFront's API, where it is not AWS's own."""
    public_cache_control: str = "public, max-age=31536000, immutable"
    """For public files whose key is never used twice: those of the simple face."""
    private_cache_control: str = "private, max-age=31536000, immutable"
    """The same for files that are not public."""

    @field_validator("url", "purge_url", "cloudfront_endpoint_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("an http or https URL without query is wanted")
        return value
