"""The depot process: the only door by which weights come in."""
