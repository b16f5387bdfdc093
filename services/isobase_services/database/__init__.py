"""The data API: PostgREST's language (``rest``) and databases made at run time (``dynamic``) on one engine (``query``)."""

from isobase_platform.runtime import Platform
from isobase_services.database.service import DatabaseService, RestService

__all__ = ["DatabaseService", "RestService", "create_service"]


def create_service(platform: Platform) -> DatabaseService:
    """Build the service on the platform; it answers after ``start``."""
    return DatabaseService(platform)
