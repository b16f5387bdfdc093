"""What a start imports stays light: heavy libraries come with the first request that needs them."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "aiosmtplib",
    "anycrc",
    "authlib",
    "boto3",
    "botocore",
    "httpx",
    "jinja2",
    "pyvips",
    "qrcode",
    "segno",
    "webauthn",
}
SERVICES = ("auth", "database", "storage", "realtime")


def test_no_service_imports_a_heavy_library_before_it_is_needed() -> None:
    modules = [
        "isobase_deploy.gateway",
        *(f"isobase_services.{name}" for name in SERVICES),
        "isobase_services.storage.service",
    ]
    program = f"import sys, {', '.join(modules)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
