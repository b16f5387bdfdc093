"""``isobase storage``: from the disk to a real S3 server and back, killed and resumed, beside a server, with its reports."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from isobase_deploy.cli import main
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.storage_lock import only_move
from isobase_platform.config import Settings
from tests.plugins.fault_proxy import Break, fault_proxy
from tests.plugins.s3 import S3Server
from tests.plugins.stack import ISOBASE, PASSWORD, clean_environment
from tests.storage.conftest import Stack, running, with_storage

pytestmark = pytest.mark.parametrize("backend", ["file"], indirect=True)

OBJECTS = 13
Command = Callable[..., Any]


@pytest.fixture
def environment(database: Settings, s3: S3Server, tmp_path: Path) -> dict[str, str]:
    """The variables of a project on the test's database, with an S3 bucket."""
    assert database.database.url is not None
    return {
        "DATABASE_URL": database.database.url.get_secret_value(),
        "ISOBASE_DATABASE__ROLE_PASSWORD": PASSWORD,
        "ISOBASE_DATA_DIR": str(database.data_dir),
        "ISOBASE_STORAGE__S3__BUCKET": s3.bucket,
        "ISOBASE_STORAGE__S3__PREFIX": s3.prefix,
        "ISOBASE_STORAGE__S3__ENDPOINT_URL": s3.endpoint,
        "ISOBASE_STORAGE__S3__REGION": "us-east-1",
        "ISOBASE_STORAGE__S3__FORCE_PATH_STYLE": "true",
        "ISOBASE_STORAGE__S3__ACCESS_KEY_ID": s3.access_key_id,
        "ISOBASE_STORAGE__S3__SECRET_ACCESS_KEY": s3.secret_access_key,
    }


@pytest.fixture
def command(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Calls the command beside the test's own event loop; returns its exit code."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def call(*arguments: str, **variables: str) -> int:
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(f"ISOBASE_STORAGE__{name}", value)
            return await asyncio.to_thread(main, ["storage", *arguments, "--workdir", str(tmp_path)])

    return call


async def seed(stack: Stack) -> dict[str, bytes]:
    await stack.bucket("files", public=True)
    contents = {f"folder {n}/file+{n}.txt": f"{n} ".encode() * 20 ** (n % 4) for n in range(OBJECTS - 1)}
    contents["we !-_.*'()&$=@;:+,?/ name /x"] = b"odd"
    for key, content in contents.items():
        assert (await stack.put(f"files/{quote(key)}", content, stack.admin)).status_code == 200
    return contents


async def assert_served(stack: Stack, contents: dict[str, bytes]) -> None:
    for key, content in contents.items():
        answer = await stack.http.get(f"/storage/v1/object/public/files/{quote(key)}")
        assert (answer.status_code, answer.content) == (200, content)


async def test_objects_go_to_s3_and_back_without_a_moment_in_which_they_cannot_be_read(
    database: Settings, s3: S3Server, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    on_s3 = with_storage(database, backend="s3", s3=s3.settings(), fallback={"backend": "file"})
    async with running(database) as stack:
        contents = await seed(stack)
        assert await command("move", "--from", "file", "--to", "s3", "--verify", "deep", "--report", str(report)) == 0
        assert "Complete: every object is at the target." in capsys.readouterr().out
        told = json.loads(report.read_text())
        assert (told["objects"], told["copied"], told["read_back"]) == (OBJECTS, OBJECTS, OBJECTS)
        assert told["buckets"]["files"]["copied_bytes"] == sum(len(content) for content in contents.values())
        assert len(s3.keys()) == OBJECTS
        # Written after the move: the next server has it from the disk.
        contents["late"] = b"late"
        assert (await stack.put("files/late", b"late", stack.admin)).status_code == 200
        await assert_served(stack, contents)

    async with running(on_s3) as stack:
        await assert_served(stack, contents)
        contents["new"] = b"new"
        assert (await stack.put("files/new", b"new", stack.admin)).status_code == 200
        body = {"bucketId": "files", "sourceKey": "late", "destinationKey": "copy of late"}
        assert (await stack.http.post("/storage/v1/object/copy", json=body, headers=stack.admin)).status_code == 200
        contents["copy of late"] = b"late"
        gone = next(iter(contents))
        assert (await stack.http.delete(f"/storage/v1/object/files/{gone}", headers=stack.admin)).status_code == 200
        del contents[gone]
        variables = {"BACKEND": "s3", "FALLBACK__BACKEND": "file"}
        assert await command("check", **variables) == 0
        code = await command("move", "--from", "fallback", "--to", "main", "--delete-source", **variables)
        assert (code, "removed from the source" in capsys.readouterr().out) == (0, True)
        await assert_served(stack, contents)
        assert len(s3.keys()) == len(contents)
        assert list((database.storage_root / "objects").glob("*/*")) == []

    async with running(with_storage(database, backend="s3", s3=s3.settings())) as stack:
        await assert_served(stack, contents)

    back = ("move", "--from", "s3", "--to", "file", "--to-root", str(database.storage_root), "--delete-source")
    assert await command(*back, BACKEND="file") == 0
    assert s3.keys() == []
    async with running(database) as stack:
        await assert_served(stack, contents)


@pytest.mark.fault
async def test_a_killed_move_goes_on_where_it_was(
    storage: Stack, s3: S3Server, environment: dict[str, str], tmp_path: Path
) -> None:
    await storage.bucket("files")
    await storage.put("files/first", b"x" * 50_000, storage.admin)
    for n in range(30):
        body = {"bucketId": "files", "sourceKey": "first", "destinationKey": f"copy {n}"}
        assert (await storage.http.post("/storage/v1/object/copy", json=body, headers=storage.admin)).status_code == 200
    arguments = [str(ISOBASE), "storage", "move", "--from", "file", "--to", "s3", "--parallel", "1"]
    arguments += ["--workdir", str(tmp_path), "--report", str(tmp_path / "report.json")]
    variables = clean_environment() | environment
    client = s3.client

    def moved() -> int:
        return len(client.list_objects_v2(Bucket=s3.bucket, Prefix=s3.prefix).get("Contents", ()))

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *arguments,
            env=variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A suite that runs in the background of a shell ignores SIGINT, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    async def copied_up_to(count: int) -> asyncio.subprocess.Process:
        """A move that copied as many objects and gets no further, however long the test takes to end it: the server refuses
        what comes then, and each of the others is tried again and again."""
        proxy.heals()
        proxy.breaks(Break.ERROR_503, lambda method, _: method == "PUT" and moved() >= count)
        process = await start()
        while moved() < count:
            assert process.returncode is None, await process.communicate()
            await asyncio.sleep(0.01)
        return process

    async with fault_proxy(s3.endpoint) as proxy:
        variables["ISOBASE_STORAGE__S3__ENDPOINT_URL"] = proxy.url
        killed = await copied_up_to(3)
        killed.kill()
        await killed.communicate()
        interrupted = await copied_up_to(8)
        interrupted.send_signal(signal.SIGINT)
        _, said = await interrupted.communicate()
    assert (interrupted.returncode, b"interrupted" in said, b"Traceback" in said) == (ExitCode.INTERRUPTED, True, False)
    assert not json.loads((tmp_path / "report.json").read_text())["is_settled"]
    left = moved()
    assert 3 <= left < 31
    variables["ISOBASE_STORAGE__S3__ENDPOINT_URL"] = s3.endpoint
    last = await start()
    out, said = await last.communicate()
    assert (last.returncode, b"Complete" in out) == (0, True), said
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["copied"], told["already_there"], moved()) == (31 - left, left, 31)


async def test_what_is_lost_or_damaged_is_an_exit_code_and_keeps_the_source(
    storage: Stack, s3: S3Server, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    await seed(storage)
    storage.sql("insert into storage.objects (bucket_id, name) values ('files', 'made by SQL')")
    to_s3 = ("move", "--from", "file", "--to", "s3")
    assert await command(*to_s3) == ExitCode.NOT_IN_ORDER
    out = capsys.readouterr().out
    assert "missing: files/made by SQL" in out
    assert "Not complete" in out
    assert await command(*to_s3, "--ignore-missing") == 0
    key = next(key for key in s3.keys() if "1.txt" in key)  # noqa: SIM118  no dictionary
    s3.client.put_object(Bucket=s3.bucket, Key=f"{s3.prefix}/{key}", Body=b"wrong")
    assert await command(*to_s3, "--ignore-missing") == 0
    body = s3.client.get_object(Bucket=s3.bucket, Key=f"{s3.prefix}/{key}")["Body"].read()
    assert body != b"wrong"
    assert len(storage.blobs()) == OBJECTS


async def test_a_large_object_is_compared_by_size_and_deep_by_its_bytes(
    storage: Stack, s3: S3Server, command: Command, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    await storage.bucket("files")
    content = bytes(range(256)) * 4096 * 6
    assert (await storage.put("files/large", content, storage.admin)).status_code == 200

    async def move(verify: str) -> tuple[int, ...]:
        flags = ("--from", "file", "--to", "s3", "--verify", verify, "--report", str(report))
        assert await command("move", *flags, S3__PART_SIZE_BYTES=str(5 * 1024 * 1024)) == 0
        told = json.loads(report.read_text())
        return tuple(told[name] for name in ("copied", "already_there", "by_size", "by_checksum", "read_back"))

    assert await move("checksum") == (1, 0, 1, 0, 0)
    (key,) = s3.keys()
    place = {"Bucket": s3.bucket, "Key": f"{s3.prefix}/{key}"}
    assert "-" in s3.client.head_object(**place)["ETag"]
    s3.client.put_object(**place, Body=content[:-1] + b"x")
    assert await move("deep") == (1, 0, 0, 1, 1)
    assert s3.client.get_object(**place)["Body"].read() == content
    assert await move("deep") == (0, 1, 0, 1, 1)


async def test_a_move_that_follows_finishes_at_the_first_ctrl_c(
    storage: Stack, s3: S3Server, environment: dict[str, str], tmp_path: Path
) -> None:
    await seed(storage)
    arguments = ["storage", "move", "--from", "file", "--to", "s3", "--follow", "1", "--workdir", str(tmp_path)]
    following = await asyncio.create_subprocess_exec(
        str(ISOBASE),
        *arguments,
        env=clean_environment() | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    while len(s3.keys()) < OBJECTS:
        assert following.returncode is None
        await asyncio.sleep(0.02)
    assert (await storage.put("files/late", b"late", storage.admin)).status_code == 200
    following.send_signal(signal.SIGINT)
    out, said = await following.communicate()
    assert (following.returncode, b"Complete" in out, b"finishing" in said) == (0, True, True), said
    assert len(s3.keys()) == OBJECTS + 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--from", "file", "--to", "file"], "both stores are"),
        (["--from", "s3", "--to", "s3"], "main and fallback"),
        (["--from", "main", "--to", "fallback"], "storage.fallback is not set"),
        (["--from", "file", "--to", "s3", "--to-root", "x"], "the other kind of store"),
        (["--from", "file", "--to", "s3", "--delete-source"], "which a server reads from"),
        (["--from", "file", "--to", "s3", "--rewrite", "a.b"], "schema.table.column"),
        (["--from", "file", "--to", "s3", "--rewrite", "a.b.c"], "--old-prefix"),
        (["--from", "file", "--to", "s3", "--old-prefix", "a", "--new-prefix", "b"], "--rewrite"),
        (["--from", "file", "--to", "s3", "--report", "no/such/folder.json"], "cannot be written"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_move_that_cannot_be_meant_is_refused(
    database: Settings, command: Command, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("move", *arguments) == ExitCode.CONFIGURATION
    assert reason in capsys.readouterr().err


async def test_one_move_runs_at_a_time(
    database: Settings, s3: S3Server, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(database) as stack:
        contents = await seed(stack)
        async with only_move(database):
            assert await command("move", "--from", "file", "--to", "s3") == ExitCode.ALREADY_RUNNING
            assert "another isobase storage move runs on this database" in capsys.readouterr().err
            assert s3.keys() == []
        assert await command("move", "--from", "file", "--to", "s3") == ExitCode.OK
        assert len(s3.keys()) == len(contents)


async def test_a_store_out_of_reach_has_an_exit_code_of_its_own(
    storage: Stack, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    await seed(storage)
    nowhere = {"S3__ENDPOINT_URL": "http://127.0.0.1:9", "S3__MAX_ATTEMPTS": "1"}
    assert await command("move", "--from", "file", "--to", "s3", **nowhere) == ExitCode.STORE
    told = capsys.readouterr().err
    assert "the store of objects failed" in told
    assert "Traceback" not in told


async def test_urls_are_rewritten_with_the_move_and_once(
    storage: Stack, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = await seed(storage)
    storage.sql('create table public."Moved Profiles" (id int primary key, url text)')
    try:
        old, new = f"{storage.url}/storage/v1/object/public/", "https://cdn.example/"
        storage.sql(
            'insert into public."Moved Profiles" select n, %s || n from generate_series(1, 5) n', f"{old}files/"
        )
        flags = ("--rewrite", 'public."Moved Profiles".url', "--old-prefix", old, "--new-prefix", new)
        assert await command("move", "--from", "file", "--to", "s3", *flags, "--dry-run") == 0
        out = capsys.readouterr().out
        assert f"Dry run: {len(contents)} object(s)" in out
        assert storage.sql('select count(*) from public."Moved Profiles" where url like %s', f"{old}%") == [(5,)]
        storage.sql("insert into storage.objects (bucket_id, name) values ('files', 'lost')")
        assert await command("move", "--from", "file", "--to", "s3", *flags) == ExitCode.NOT_IN_ORDER
        assert capsys.readouterr().out.endswith("URLs were not rewritten: that comes once the move is complete.\n")
        assert storage.sql('select count(*) from public."Moved Profiles" where url like %s', f"{old}%") == [(5,)]
        assert await command("move", "--from", "file", "--to", "s3", "--ignore-missing", *flags) == 0
        assert storage.sql('select min(url) from public."Moved Profiles"') == [(f"{new}files/1",)]
        capsys.readouterr()
        assert await command("rewrite", "--column", flags[1], *flags[2:]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[-3:] == ["0", "0", "0"]
        assert await command("rewrite", "--column", "public.nothing.url", *flags[2:]) == ExitCode.CONFIGURATION
    finally:
        storage.sql('drop table public."Moved Profiles"')


@pytest.mark.parametrize("where", ["file", "s3"])
async def test_a_check_finds_and_fixes_orphans(
    database: Settings, s3: S3Server, command: Command, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_storage(database, backend=where, s3=s3.settings())
    async with running(settings) as stack:
        await seed(stack)
        assert await command("check", BACKEND=where) == 0
        stack.sql("delete from storage.objects where name like 'folder 1%%'")
        capsys.readouterr()
        assert await command("check", "--grace", "0", "-o", "json", BACKEND=where) == ExitCode.NOT_IN_ORDER
        told = json.loads(capsys.readouterr().out)
        assert (told["orphan_blobs"], told["rows_without_blob"], told["removed_blobs"]) == (3, 0, 0)
        assert await command("check", "--fix", BACKEND=where) == 0
        assert len(stack.blobs()) == OBJECTS
        assert await command("check", "--fix", "--grace", "0", BACKEND=where) == ExitCode.CONFIGURATION
        assert "uploads may be under way" in capsys.readouterr().err
        assert await command("check", "--fix", "--grace", "0", "--force", BACKEND=where) == 0
        assert "Removed: 3" in capsys.readouterr().out
        assert len(stack.blobs()) == OBJECTS - 3
