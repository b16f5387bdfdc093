"""Aggregates, and relationships that functions give."""

from __future__ import annotations

from tests.database.differential.cases.case import RETURN, Case, reads

__all__ = ["AGGREGATE", "COMPUTED"]

AGGREGATE = [
    *reads(
        "aggregate",
        "/projects?select=count()",
        "/projects?select=n:count()::text",
        "/projects?select=client_id,count()&order=client_id",
        "/projects?select=client_id,budget.sum(),budget.avg(),budget.min(),budget.max(),budget.count()&order=client_id",
        "/projects?select=client:client_id,total:budget::int.sum()::text&order=client_id.desc&limit=2",
        "/projects?select=client_id,clients(name),count()&order=client_id",
        "/projects?select=budget.sum()&id=gt.1",
        "/projects?select=name.sum()",
        "/projects?select=name,count()&order=budget",
        "/clients?select=name,projects(count())&order=id",
        "/clients?select=name,projects(budget.max(),id.min())&order=id&projects.id=gt.1",
        "/clients?select=name,projects!inner(count())&order=id&projects.id=gt.100",
        "/clients?select=*,count()&order=id",
        "/projects?select=...clients(name,id.count())&order=clients(name)",
        "/projects?select=budget.sum(),...clients(client:name)&order=clients(client)",
        "/tasks?select=done,...projects(budget.max())&order=done",
        "/kinds?select=b->a,count()&order=count",
        "/kinds?select=feeling,count()&order=feeling",
        "/projects?select=*.sum()",
        "/projects?select=id.median()",
        "/projects?select=count(id)",
        only_code=True,
    ),
    Case("aggregate counted", "/projects?select=client_id,count()&order=client_id", headers={"Prefer": "count=exact"}),
    Case(
        "aggregate of a write",
        "/clients?select=count(),name.max()",
        "POST",
        headers=RETURN,
        body=[{"name": "Xu"}, {"name": "Yo"}],
    ),
]

COMPUTED = [
    *reads(
        "computed",
        "/projects?select=name,client_of(name)&order=id",
        "/projects?select=name,c:client_of(name)&order=c(name),id",
        "/projects?select=name,one_client_of(name)&order=id",
        "/projects?select=name,client_of!inner(name)&client_of.id=eq.1&order=id",
        "/projects?select=name,client_of()&client_of=is.null&order=id",
        "/projects?select=name,one_client_of()&one_client_of=is.null&order=id",
        "/projects?select=name,...client_of(client:name)&order=id",
        "/projects?select=name,client_of(name,projects(name))&order=id&client_of.projects.order=id",
        "/people?select=name,work_of(title)&order=id",
        "/people?select=name,work_of(title,projects(name,client_of(name)))&order=id",
        "/people?select=name,work_of(title)&order=id&work_of.order=title.desc&work_of.limit=1",
        "/people?select=name,work_of(title)&order=work_of(title)",
        "/people?select=name,work_of(count())&order=id",
        "/people?select=name,works_of(title)",
        "/people?select=name,client_of(name)",
    ),
    Case(
        "computed after a write",
        "/projects?id=eq.1&select=name,client_of(name)",
        "PATCH",
        headers=RETURN,
        body={"name": "renamed"},
    ),
]
