"""Extension files for the embedded PostgreSQL: stand-ins in SQL, and which of the server's own a project's owner may install.

``extension/`` holds control and script files of ``pgcrypto`` and ``uuid-ossp``, which the embedded server lacks (see
docs/decisions/0005-pgcrypto-stand-in.md). ``write_extension_directory`` puts them, with control files that mark further
extensions of the server as trusted, into a directory for PostgreSQL's setting ``extension_control_path``.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["INSTALLABLE_BY_PROJECT", "write_extension_directory"]

INSTALLABLE_BY_PROJECT = (
    "autoinc",
    "bloom",
    "dblink",
    "dict_xsyn",
    "earthdistance",
    "insert_username",
    "moddatetime",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_walinspect",
    "pgrowlocks",
    "pgstattuple",
    "postgres_fdw",
    "refint",
    "vector",
)
"""Extensions that PostgreSQL lets only a superuser install and that a Supabase project installs as ``postgres``.

Source: supabase/postgres, ``supautils.privileged_extensions``, without those that the embedded server does not have. Left out
there and here are extensions that read the server's files or damage data (file_fdw, pageinspect, pg_surgery, lo, ...).
"""


def write_extension_directory(target: Path, server_share_dir: Path) -> Path:
    """Fill ``target`` with what ``extension_control_path`` shall find before the server's own files; returns ``target``.

    Parameters: ``target``, a directory that the server's account can enter (made where missing, files replaced);
    ``server_share_dir``, whose folder ``extension`` holds the server's control files. A copy is used because the
    installed package may lie where that account cannot read. Errors: ``OSError`` when a file cannot be read or written.

    A trusted extension is installed with the superuser's rights on behalf of any role that may create objects in the database
    (PostgreSQL, "Packaging Related Objects into an Extension", ``trusted``). The scripts stay where they are: the control
    file's ``directory`` points there.
    """
    own = Path(__file__).parent / "extension"
    system = server_share_dir / "extension"
    folder = target / "extension"
    folder.mkdir(parents=True, exist_ok=True)
    for directory in (target, folder):
        directory.chmod(0o755)
    texts = {path.name: path.read_text() for path in own.iterdir() if path.suffix in {".control", ".sql"}}
    quoted = str(system).replace("'", "''")
    for name in INSTALLABLE_BY_PROJECT:
        control = system / f"{name}.control"
        if control.is_file():
            text = control.read_text().rstrip()
            texts[control.name] = f"{text}\ntrusted = true\ndirectory = '{quoted}'\n"
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        path.chmod(0o644)
    return target
