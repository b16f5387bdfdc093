"""Auth in the place of the GoTrue program: ``isobase serve auth`` with ``GOTRUE_*`` variables."""

from isobase_deploy.gotrue.server import prepare, serve

__all__ = ["prepare", "serve"]
