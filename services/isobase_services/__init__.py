"""The four services: ``auth``, ``database``, ``storage``, ``realtime``. None imports another; all stand on the platform."""
