"""The command that turns an app's imports from supabase-py's packages into Isobase's."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase.codemod import main, rewrite


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from supabase import create_client, Client\n", "from isobase import create_client, Client\n"),
        (
            "from supabase.lib.client_options import ClientOptions\n",
            "from isobase.lib.client_options import ClientOptions\n",
        ),
        ("from supabase_auth.errors import AuthApiError as E\n", "from isobase.auth.errors import AuthApiError as E\n"),
        ("from gotrue.types import User\n", "from isobase.auth.types import User\n"),
        (
            "from postgrest.exceptions import (\n    APIError,  # kept\n)\n",
            "from isobase.postgrest.exceptions import (\n    APIError,  # kept\n)\n",
        ),
        ("import supabase\nsupabase.create_client\n", "import isobase as supabase\nsupabase.create_client\n"),
        ("import supabase as sb\n", "import isobase as sb\n"),
        ("import os, storage3.utils\n", "import os, isobase.storage as storage3, isobase.storage.utils\n"),
        ("patch('supabase_auth.helpers.parse')\n", "patch('isobase.auth.helpers.parse')\n"),
        ("x = 'é'; import realtime\n", "x = 'é'; import isobase.realtime as realtime\n"),
        ("text = 'supabase is a word'\nfrom .supabase import mine\nimport supabases\n",) * 2,
        ("url = 'supabase.com'\nname = 'supabase'\ntable('realtime.messages')\n",) * 2,
    ],
)
def test_only_imports_and_dotted_paths_change(before: str, after: str) -> None:
    assert rewrite(before) == after


def test_a_rewritten_app_is_left_alone_the_second_time() -> None:
    once = rewrite("import supabase_auth.errors\nfrom realtime import AsyncRealtimeClient\n")
    assert rewrite(once) == once


def test_files_below_a_folder_are_rewritten_and_libraries_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app, library = tmp_path / "app.py", tmp_path / ".venv" / "lib.py"
    library.parent.mkdir()
    for path in (app, library):
        path.write_bytes(b"from supabase import create_client\r\n")
    assert main(["--check", str(tmp_path)]) == 1
    assert app.read_bytes() == b"from supabase import create_client\r\n"
    assert main([str(tmp_path)]) == 0
    assert app.read_bytes() == b"from isobase import create_client\r\n"
    assert library.read_bytes() == b"from supabase import create_client\r\n"
    assert "1 file changed" in capsys.readouterr().out
    assert main(["--check", str(tmp_path)]) == 0


def test_an_apps_own_module_of_the_same_name_keeps_its_imports(tmp_path: Path) -> None:
    (tmp_path / "realtime.py").write_text("")
    (tmp_path / "app.py").write_text("import realtime\nfrom postgrest import APIError\n")
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "app.py").read_text() == "import realtime\nfrom isobase.postgrest import APIError\n"


def test_a_file_that_is_not_python_is_named_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.py").write_text("print 'two'\nimport supabase\n")
    assert main([str(tmp_path)]) == 1
    assert "old.py" in capsys.readouterr().err
