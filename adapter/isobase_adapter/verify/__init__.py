"""Says whether both sides are equal: rows by checksums and by key, schemas by what the catalogs say; repairs rows.

``tables`` compares rows, ``schema`` definitions, ``results`` is what they find. docs/migration/verify.md is the
operator's side of it.
"""
