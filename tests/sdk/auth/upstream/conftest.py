"""The real GoTrue with wallets, SAML and custom providers switched on; ``GOTRUE_BINARY`` names the program.

``make test-sdk-auth-upstream`` sets it; ``make test`` leaves these tests out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.auth.differential.servers import (
    EXTERNAL_URL,
    SECRET,
    gotrue_binary,
    running_side,
    upstream_database,
)
from tests.plugins.stack import DatabaseServer

if gotrue_binary() is None:
    collect_ignore_glob = ["_async/test_*.py", "_sync/test_*.py"]

DOMAIN = "company.example"
SIGN_IN_PAGE = "https://idp.company.example/sign-in"
APP = "https://app.example.com/"


@dataclass(slots=True, frozen=True)
class Upstream:
    """Where it answers; ``app`` is what the messages of wallets are to name."""

    url: str
    app: str
    domain: str
    sign_in_page: str
    admin_headers: dict[str, str]


def new_key() -> rsa.RSAPrivateKey:
    """A key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def metadata_of_the_company() -> str:
    """What a company's identity provider publishes of itself (SAML 2.0 metadata)."""
    key, now = new_key(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DOMAIN)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    body = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    protocol = "urn:oasis:names:tc:SAML:2.0"
    return f"""<?xml version="1.0"?>
<EntityDescriptor xmlns="{protocol}:metadata" entityID="https://idp.{DOMAIN}/metadata">
  <IDPSSODescriptor protocolSupportEnumeration="{protocol}:protocol">
    <KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#">
      <X509Data><X509Certificate>{body}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
    <SingleSignOnService Binding="{protocol}:bindings:HTTP-Redirect" Location="{SIGN_IN_PAGE}"/>
  </IDPSSODescriptor>
</EntityDescriptor>"""


@pytest.fixture(scope="session")
def upstream(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """GoTrue, with one company."""
    binary = gotrue_binary()
    assert binary is not None
    folder = tmp_path_factory.mktemp("gotrue")
    private = new_key().private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    environment = {
        "GOTRUE_EXTERNAL_WEB3_SOLANA_ENABLED": "true",
        "GOTRUE_EXTERNAL_WEB3_ETHEREUM_ENABLED": "true",
        "GOTRUE_MAILER_AUTOCONFIRM": "true",
        "GOTRUE_SAML_ENABLED": "true",
        "GOTRUE_SAML_PRIVATE_KEY": base64.b64encode(private).decode(),
        "GOTRUE_CUSTOM_OAUTH_ENABLED": "true",
        "GOTRUE_DB_AUTOMIGRATE": "false",
        "API_EXTERNAL_URL": EXTERNAL_URL,
    }
    dsn = upstream_database(postgres, binary, folder)
    with running_side("upstream", [str(binary)], dsn, postgres.dsn("gotrue_upstream"), environment, folder) as side:
        admin_headers = {"Authorization": f"Bearer {jwt.encode({'role': 'service_role'}, SECRET, algorithm='HS256')}"}
        answer = side.client.post(
            "/admin/sso/providers",
            json={"type": "saml", "metadata_xml": metadata_of_the_company(), "domains": [DOMAIN]},
            headers=admin_headers,
        )
        assert answer.status_code == 201, answer.text
        yield Upstream(str(side.client.base_url).rstrip("/"), APP, DOMAIN, SIGN_IN_PAGE, admin_headers)
