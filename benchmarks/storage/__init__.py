"""Storage beside the real upstream server. ``make bench-storage`` runs it."""
