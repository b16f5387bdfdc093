"""The control store: flags, writers, rules, clients, events and counters, shared by all clients and by operators.

``changes`` says which change is allowed, ``store`` what a store keeps, ``postgres`` and ``sqlite`` are the two stores (each
with its ``_findings``: what was seen, over its connection or file),
``following`` is a client's view of one (``Control`` of the contracts) and ``operator`` what operators do with it.
"""
