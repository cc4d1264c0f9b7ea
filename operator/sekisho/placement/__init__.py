"""Where a class may and can run: requirements, a snapshot of nodes, filters in a written order, an explanation."""
