"""PostgREST's face: ``/rest/v1``. parse (``request``) -> plan and SQL (``query``) -> execute -> render."""
