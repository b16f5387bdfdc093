"""Realtime while both sides matter: channels that listen on both and tell everything once.

``matching`` and ``presence`` are pure: what of two streams is new. ``legs`` is one side of a channel, ``channel`` and
``client`` are the official client's faces over both. docs/migration/realtime.md tells what an app notices.
"""
