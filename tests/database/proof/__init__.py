"""What must hold of the data API whatever is asked of it and whatever happens to its PostgreSQL."""
