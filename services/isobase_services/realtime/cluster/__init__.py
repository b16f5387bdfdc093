"""Several realtime processes as one: who lives (``peers``), what is sent between them (``envelope``, ``outlet``), and the two
kinds of traffic that channels have (``broadcasts``, ``presence``).

``Cluster`` is the face that other packages use. Everything is local first: a node that is alone, or whose bus is away, serves
its own sockets as if there were no cluster.
"""

from __future__ import annotations

from isobase_services.realtime.cluster.cluster import Cluster, ClusterIdentity

__all__ = ["Cluster", "ClusterIdentity"]
