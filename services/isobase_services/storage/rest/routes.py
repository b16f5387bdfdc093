"""The table of the Supabase face's routes, in upstream's order of precedence: fixed words before names.

Source: contracts/storage.md 1.1, 1.2, 1.6, and 1.7 for the operations.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import SERVICE_ROLE
from isobase_platform.config_storage import StorageSettings
from isobase_platform.errors import NotFound
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.tokens import TokenVerifier
from isobase_services.storage.core import StorageCore
from isobase_services.storage.core.read import Access
from isobase_services.storage.paths import PathReader
from isobase_services.storage.rest.bucket import BucketEndpoints
from isobase_services.storage.rest.call import Auth, Endpoint, EndpointApp
from isobase_services.storage.rest.image import ImageEndpoints
from isobase_services.storage.rest.object_list import ListEndpoints
from isobase_services.storage.rest.object_read import ReadEndpoints
from isobase_services.storage.rest.object_remove import RemoveEndpoints
from isobase_services.storage.rest.object_sign import SignEndpoints
from isobase_services.storage.rest.object_transfer import TransferEndpoints
from isobase_services.storage.rest.object_upload import UploadEndpoints
from isobase_services.storage.rest.operations import OperationsEndpoints, status, version
from isobase_services.storage.rest.render import render_error

__all__ = ["rest_app"]


class _Route(Route):
    """A route that a wrong method does not match at all, as upstream has no 405, and whose key may hold any character."""

    def __init__(self, path: str, endpoint: ASGIApp, *, methods: tuple[str, ...]) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.methods = set(methods)  # GET does not bring HEAD along
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See ``Route.matches``."""
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("There is no such route")


def rest_app(core: StorageCore, verifier: TokenVerifier, settings: StorageSettings) -> ASGIApp:
    """The Supabase face as an ASGI app."""
    routes: list[_Route] = []

    def add(
        methods: str, path: str, handle: Endpoint, auth: Auth, operation: str, roles: frozenset[str] | None = None
    ) -> None:
        app: Any = EndpointApp(handle, auth, operation, verifier, roles=roles)
        routes.append(_Route(path, app, methods=tuple(methods.split())))

    bucket = BucketEndpoints(core.buckets)
    for path in ("/bucket", "/bucket/"):
        add("POST", path, bucket.create, Auth.REQUIRED, "storage.bucket.create")
        add("GET HEAD", path, bucket.list, Auth.REQUIRED, "storage.bucket.list")
    add("GET HEAD", "/bucket/{bucket}", bucket.get, Auth.REQUIRED, "storage.bucket.get")
    add("PUT", "/bucket/{bucket}", bucket.update, Auth.REQUIRED, "storage.bucket.update")
    add("DELETE", "/bucket/{bucket}", bucket.delete, Auth.REQUIRED, "storage.bucket.delete")
    may_empty = frozenset(settings.empty_bucket_roles)
    add("POST", "/bucket/{bucket}/empty", bucket.empty, Auth.REQUIRED, "storage.bucket.empty", may_empty)

    listing = ListEndpoints(core.listings)
    add("POST", "/object/list/{bucket}", listing.list_level, Auth.REQUIRED, "storage.object.list")
    add("POST", "/object/list-v2/{bucket}", listing.list_tree, Auth.VERIFIED, "storage.object.list_v2")

    transfer = TransferEndpoints(core.transfers)
    add("POST", "/object/move", transfer.move, Auth.REQUIRED, "storage.object.move")
    add("POST", "/object/copy", transfer.copy, Auth.REQUIRED, "storage.object.copy")

    sign = SignEndpoints(core.signing, core.images)
    upload = UploadEndpoints(core.uploads, core.direct, core.signer, core.carries)
    read = ReadEndpoints(core.reads, core.signer)
    signed_upload = "/object/upload/sign/{bucket}/{key:path}"
    add("POST", signed_upload, sign.sign_upload, Auth.REQUIRED, "storage.object.sign_upload_url")
    add("PUT", signed_upload, upload.signed, Auth.NONE, "storage.object.upload_signed")
    add("POST", "/object/sign/{bucket}/{key:path}", sign.sign, Auth.REQUIRED, "storage.object.sign")
    add("POST", "/object/sign/{bucket}", sign.sign_many, Auth.REQUIRED, "storage.object.sign_many")
    signed = "/object/sign/{bucket}/{key:path}"
    add("GET HEAD", signed, read.download_signed, Auth.NONE, "storage.object.get_signed")

    info, head = "object.get_authenticated_info", "object.head_authenticated_info"
    public_info = read.info(Access.PUBLIC)
    add("GET", "/object/info/public/{bucket}/{key:path}", public_info, Auth.NONE, "storage.object.info_public")
    add("GET HEAD", "/object/info/authenticated/{bucket}/{key:path}", read.info(Access.CALLER), Auth.REQUIRED, info)
    add("GET HEAD", "/object/info/{bucket}/{key:path}", read.info(Access.CALLER), Auth.OPTIONAL, info)

    public = "/object/public/{bucket}/{key:path}"
    add("GET", public, read.download(Access.PUBLIC), Auth.NONE, "storage.object.get_public")
    add("HEAD", public, read.head(Access.PUBLIC), Auth.NONE, "storage.object.info_public")
    authenticated = "/object/authenticated/{bucket}/{key:path}"
    get = "storage.object.get_authenticated"
    add("GET", authenticated, read.download(Access.CALLER), Auth.REQUIRED, get)
    add("HEAD", authenticated, read.head(Access.CALLER), Auth.REQUIRED, head)

    if core.images.is_enabled:
        image = ImageEndpoints(core.reads, core.images, core.signer)
        rendered, own = "/render/image/{kind}/{{bucket}}/{{key:path}}", "storage.render.image_authenticated"
        add("GET HEAD", rendered.format(kind="authenticated"), image.render(Access.CALLER), Auth.REQUIRED, own)
        shared = "storage.render.image_public"
        add("GET HEAD", rendered.format(kind="public"), image.render(Access.PUBLIC), Auth.NONE, shared)
        signed_image = "storage.render.image_sign"
        add("GET HEAD", rendered.format(kind="sign"), image.render_signed, Auth.NONE, signed_image)

    removal = RemoveEndpoints(core.removals)
    plain = "/object/{bucket}/{key:path}"
    add("GET", plain, read.download(Access.CALLER), Auth.OPTIONAL, get)
    add("HEAD", plain, read.head(Access.CALLER), Auth.OPTIONAL, head)
    add("POST", plain, upload.create, Auth.REQUIRED, "storage.object.upload")
    add("PUT", plain, upload.update, Auth.REQUIRED, "storage.object.upload_update")
    add("DELETE", plain, removal.remove, Auth.REQUIRED, "storage.object.delete")
    add("DELETE", "/object/{bucket}", removal.remove_many, Auth.REQUIRED, "storage.object.delete_many")

    operations = OperationsEndpoints(core.health, core.cdn)
    service_only = frozenset({SERVICE_ROLE})
    for path in ("/cdn", "/cdn/"):
        add("DELETE", path, operations.purge_all, Auth.REQUIRED, "storage.cdn.purge_tenant_cache", service_only)
    purge_bucket, purge_object = "storage.cdn.purge_bucket_cache", "storage.cdn.purge_object_cache"
    add("DELETE", "/cdn/{bucket}", operations.purge_bucket, Auth.REQUIRED, purge_bucket, service_only)
    add("DELETE", "/cdn/{bucket}/{key:path}", operations.purge_object, Auth.REQUIRED, purge_object, service_only)
    for path in ("/health", "/health/"):
        add("GET HEAD", path, operations.health, Auth.VERIFIED, "")
    add("GET HEAD", "/status", status, Auth.NONE, "")
    add("GET HEAD", "/version", version, Auth.NONE, "")
    # Iceberg and vector buckets are not enabled: upstream has no route for them then (``render`` knows their two 404s).
    router = Router(routes=routes, default=_not_found, redirect_slashes=False)
    return ErrorBoundary(PathReader(router), render_error)
