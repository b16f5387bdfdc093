"""The builders that send: each is the pure builder of its kind with ``execute()``.

``AsyncRequestBuilder`` is a table before a statement is chosen; the others are one statement. ``Row`` is what a row
becomes: JSON, or the model that was given to ``table(...)``. Source: postgrest-py 2.34.1
``_async/request_builder.py``, postgrest-js.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, Self, overload

from httpx import AsyncClient, BasicAuth, Headers, Response
from typing_extensions import TypeVar

from isobase._http import call_options
from isobase.postgrest._filters import BaseFilterRequestBuilder, CopyableBuilder
from isobase.postgrest._incremental import AsyncRows, RowReader
from isobase.postgrest._modifiers import BaseRPCRequestBuilder, BaseSelectRequestBuilder, cleaned_columns
from isobase.postgrest._request import MAX_RETRY_DELAY_S, RequestConfig
from isobase.postgrest._responses import (
    APIResponse,
    Row,
    SingleAPIResponse,
    key_of_last,
    maybe_single_answer,
    row_of,
    rows_answer,
    single_answer,
    text_answer,
)
from isobase.postgrest._writes import Asked, ask_delete, ask_insert, ask_select, ask_update, ask_upsert
from isobase.postgrest.constants import CSV, GEOJSON, PLAN, SINGLE_ROW
from isobase.postgrest.exceptions import api_error
from isobase.postgrest.types import JSON, CountMethod, ReturnMethod, Writable

ReqConfig = RequestConfig[AsyncClient]
Selected = TypeVar("Selected")
Result = TypeVar("Result", default=JSON)


def get_retry_delay(attempt_count: int) -> int:
    """Give the seconds that postgrest-py waits before a read is sent again; the session has delays of its own."""
    return int(min(2**attempt_count, MAX_RETRY_DELAY_S))


async def send_with_retry(req: ReqConfig) -> Response:
    """Send a request; the session sends a read again where that helps, unless ``retry(False)`` was said.

    Raises what httpx raises, and DeadlineExceeded.
    """
    if req.retry_enabled:
        return await req.send({})
    with call_options(retries=0):
        return await req.send({})


class _AsyncExecutable(CopyableBuilder[AsyncClient]):
    """What every statement has: its request, and whether it may be sent again."""

    def __init__(self, request: ReqConfig) -> None:
        self.request = request

    def retry(self, enabled: bool) -> Self:
        """Say whether the session may send this request again after a lost connection or a 503 (reads alone)."""
        self.request.retry_enabled = enabled
        return self


class AsyncQueryRequestBuilder(_AsyncExecutable, Generic[Row]):
    """A statement that answers with rows."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    def select(self, *columns: str) -> Self:
        """Have a write give back these columns of its rows."""
        self.request.put("select", cleaned_columns(columns))
        self.request.prefer("return=representation")
        return self

    async def execute(self) -> APIResponse[Row]:
        """Send the query.

        Raises APIError when the server refuses, RowValidationError when a row does not fit the model, httpx's errors
        when no answer comes, DeadlineExceeded when its time is over.
        """
        return rows_answer(self.request, await send_with_retry(self.request))


class AsyncSingleRequestBuilder(_AsyncExecutable, Generic[Row]):
    """A statement that answers with one value."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    async def execute(self) -> SingleAPIResponse[Row]:
        """Send the query; ``data`` is the value. Raises as every ``execute`` does."""
        return single_answer(self.request, await send_with_retry(self.request))


class AsyncExplainRequestBuilder(_AsyncExecutable):
    """A statement whose plan is asked for, as text."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    async def execute(self) -> str:
        """Send the query; gives PostgreSQL's plan. Raises APIError, also where the server gives no plans."""
        return text_answer(await send_with_retry(self.request))


class AsyncMaybeSingleRequestBuilder(_AsyncExecutable, Generic[Row]):
    """A statement that answers with one row or none."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    async def execute(self) -> SingleAPIResponse[Row | None]:
        """Send the query; ``data`` is the row, or None where there is none. Raises APIError PGRST116 for several
        rows.
        """
        return maybe_single_answer(self.request, await send_with_retry(self.request))


class AsyncFilterRequestBuilder(BaseFilterRequestBuilder[AsyncClient], AsyncQueryRequestBuilder[Row], Generic[Row]):
    """A statement with filters and no modifiers."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)


class AsyncRPCFilterRequestBuilder(
    BaseRPCRequestBuilder[AsyncClient], AsyncSingleRequestBuilder[Result], Generic[Result]
):
    """A function call; what it gives can be filtered and sorted like rows."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    def maybe_single(self) -> AsyncMaybeSingleRequestBuilder[Result]:
        """Ask for one row or none; several raise APIError PGRST116."""
        return AsyncMaybeSingleRequestBuilder(self.request)


class AsyncSelectRequestBuilder(BaseSelectRequestBuilder[AsyncClient], AsyncQueryRequestBuilder[Row], Generic[Row]):
    """A statement on a table, with filters and modifiers."""

    def __init__(self, request: ReqConfig) -> None:
        super().__init__(request)

    async def stream(self) -> AsyncRows[Row]:
        """Send the query and give its rows one by one while they arrive, however many there are: ``async for row in
        query.stream()``.

        Whoever ends early closes the iterator (``contextlib.aclosing``), which ends the answer. Raises as ``execute``
        does, and ValueError where the answer is no array of rows or ends before its end.
        """
        url, arguments = self.request.arguments({})
        reader = RowReader()
        async with self.request.session.stream(self.request.http_method, url, **arguments) as response:
            if not response.is_success:
                await response.aread()
                raise api_error(response)
            async for piece in response.aiter_bytes():
                for value, text in reader.feed(piece):
                    yield row_of(self.request, value, text)
        if not reader.is_done:
            raise ValueError("the answer ended before its last row")

    async def pages(self, size: int = 1000, *, key: str = "id") -> AsyncRows[list[Row]]:
        """Give all rows in pages of ``size``, in the order of a unique column: ``async for page in query.pages(500)``.

        Each page begins behind the last row of the one before (no offset), so that rows which come and go meanwhile
        shift none, and a late page costs what an early one does. ``key``: the column, unique, never null, and among
        those selected. Raises as ``execute`` does, and ValueError for a query that has an order or a limit of its
        own.
        """
        if size < 1:
            raise ValueError("size has to be 1 or more")
        if any(self.request.param(name) is not None for name in ("order", "limit", "offset")):
            raise ValueError("pages() has an order and a limit of its own")
        query = self.copy().order(key).limit(size)
        while True:
            response = await send_with_retry(query.request)
            rows = rows_answer(query.request, response).data
            if rows:
                yield rows
            if len(rows) < size:
                return
            query = self.copy().order(key).limit(size).gt(key, key_of_last(response, key))

    def single(self) -> AsyncSingleRequestBuilder[Row]:
        """Ask for one row; the call raises APIError (PGRST116) for none and for several."""
        self.request.set_header("Accept", SINGLE_ROW)
        return AsyncSingleRequestBuilder(self.request)

    def maybe_single(self) -> AsyncMaybeSingleRequestBuilder[Row]:
        """Ask for one row or none: ``data`` is None then; several raise APIError PGRST116."""
        return AsyncMaybeSingleRequestBuilder(self.request)

    def text_search(self, column: str, query: str, options: dict[str, Any] | None = None) -> Self:
        """Keep rows that match a full-text query.

        ``options``: ``type`` is ``plain``, ``phrase`` or ``web_search`` (also ``websearch``), else ``to_tsquery``'s
        language; ``config`` a text search configuration such as ``english``.
        """
        options = options or {}
        kind = {"plain": "pl", "phrase": "ph", "web_search": "w", "websearch": "w"}.get(options.get("type") or "", "")
        config = f"({options['config']})" if options.get("config") else ""
        return self.filter(column, f"{kind}fts{config}", query)

    def csv(self) -> AsyncSingleRequestBuilder[str]:
        """Ask for CSV; ``data`` is its text.

        Raises ValueError after ``strip_nulls()``.
        """
        self.request._reject_strip_nulls("csv")
        self.request.set_header("Accept", CSV)
        self.request.model = None
        return AsyncSingleRequestBuilder(self.request)

    def geojson(self) -> AsyncSingleRequestBuilder[dict[str, Any]]:
        """Ask for a GeoJSON FeatureCollection; the table needs a column of geometry. Source: postgrest-js ``geojson``.

        Raises ValueError after ``strip_nulls()``.
        """
        self.request._reject_strip_nulls("geojson")
        self.request.set_header("Accept", GEOJSON)
        self.request.model = None
        return AsyncSingleRequestBuilder(self.request)

    @overload
    def explain(
        self,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        format: Literal["text"] = "text",
    ) -> AsyncExplainRequestBuilder: ...
    @overload
    def explain(
        self,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        *,
        format: Literal["json"],
    ) -> AsyncSingleRequestBuilder[JSON]: ...

    def explain(
        self,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        format: Literal["text", "json"] = "text",
    ) -> AsyncExplainRequestBuilder | AsyncSingleRequestBuilder[JSON]:
        """Ask for PostgreSQL's plan in the place of the rows; the options are those of ``EXPLAIN``.

        Raises ValueError after ``strip_nulls()``. The server has to give plans (PostgREST's ``db-plan-enabled``).
        """
        self.request._reject_strip_nulls("explain")
        wanted = {"analyze": analyze, "verbose": verbose, "settings": settings, "buffers": buffers, "wal": wal}
        options = "|".join(name for name, asked in wanted.items() if asked)
        self.request.set_header("Accept", f"{PLAN}+{format}; options={options}")
        self.request.model = None
        if format == "text":
            return AsyncExplainRequestBuilder(self.request)
        return AsyncSingleRequestBuilder(self.request)


class AsyncRequestBuilder(Generic[Row]):
    """A table or view, before it is said what to do with it.

    ``model``: what its rows become, a pydantic model, a dataclass or a TypedDict; None leaves them JSON. ``table``:
    the name that an error calls it by.
    """

    def __init__(
        self,
        session: AsyncClient,
        path: object,
        headers: Headers,
        auth: BasicAuth | None,
        retry_enabled: bool = True,
        *,
        model: type[Row] | None = None,
        table: str = "",
    ) -> None:
        self.session = session
        self.path = path
        self.headers = headers
        self.auth = auth
        self.retry_enabled = retry_enabled
        self.model = model
        self.table = table

    def _statement(self, asked: Asked, model: Any) -> AsyncSelectRequestBuilder[Any]:
        return AsyncSelectRequestBuilder(
            RequestConfig(
                self.session,
                self.path,
                asked.method,
                self.headers,
                asked.pairs,
                self.auth,
                asked.body,
                self.retry_enabled,
                prefer=asked.prefer,
                model=model,
                table=self.table,
            )
        )

    @overload
    def select(
        self, *columns: str, count: CountMethod | None = None, head: bool | None = None
    ) -> AsyncSelectRequestBuilder[Row]: ...
    @overload
    def select(
        self, *columns: str, count: CountMethod | None = None, head: bool | None = None, model: type[Selected]
    ) -> AsyncSelectRequestBuilder[Selected]: ...

    def select(
        self, *columns: str, count: CountMethod | None = None, head: bool | None = None, model: Any = None
    ) -> AsyncSelectRequestBuilder[Any]:
        """Read rows.

        ``columns``: what is read, every column if not said; embedded tables as ``teams(name)``, other names as
        ``title:name``. ``count``: also give the total number of rows. ``head``: give the number alone. ``model``:
        what these rows become, where it is not the table's model.
        """
        return self._statement(ask_select(columns, count, head), model or self.model)

    def insert(
        self,
        json: Writable,
        *,
        count: CountMethod | None = None,
        returning: ReturnMethod = ReturnMethod.representation,
        upsert: bool = False,
        default_to_null: bool = True,
    ) -> AsyncSelectRequestBuilder[Row]:
        """Add a row, or a list of rows in one statement: all of them or none.

        ``json``: dicts, models or dataclasses. ``count``: also give the number of rows. ``returning``: ``minimal``
        answers no rows. ``upsert``: merge with rows of the same primary key. ``default_to_null``: False lets a column
        that one of several rows does not name have its default instead of null.
        """
        return self._statement(ask_insert(json, count, returning, upsert, default_to_null), self.model)

    def upsert(
        self,
        json: Writable,
        *,
        count: CountMethod | None = None,
        returning: ReturnMethod = ReturnMethod.representation,
        ignore_duplicates: bool = False,
        on_conflict: str = "",
        default_to_null: bool = True,
    ) -> AsyncSelectRequestBuilder[Row]:
        """Add rows, or change those that are there.

        ``ignore_duplicates``: leave those that are there as they are. ``on_conflict``: the columns (joined by commas)
        of the unique constraint that decides; the primary key if not said. The rest is as for ``insert``.
        """
        asked = ask_upsert(json, count, returning, ignore_duplicates, on_conflict, default_to_null)
        return self._statement(asked, self.model)

    def update(
        self,
        json: Writable,
        *,
        count: CountMethod | None = None,
        returning: ReturnMethod = ReturnMethod.representation,
    ) -> AsyncSelectRequestBuilder[Row]:
        """Change the rows that the filters keep: without a filter, every row.

        ``json``: the columns to change; of a model, the fields that were given.
        """
        return self._statement(ask_update(json, count, returning), self.model)

    def delete(
        self, *, count: CountMethod | None = None, returning: ReturnMethod = ReturnMethod.representation
    ) -> AsyncSelectRequestBuilder[Row]:
        """Remove the rows that the filters keep: without a filter, every row."""
        return self._statement(ask_delete(count, returning), self.model)
