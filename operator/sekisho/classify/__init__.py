"""Classes of data: the lattice of level and compartments, and what a class may do."""
