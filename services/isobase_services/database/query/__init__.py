"""The query engine under both faces: PostgREST's language -> plan -> SQL with parameters."""
