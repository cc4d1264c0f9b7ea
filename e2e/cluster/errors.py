"""What goes wrong before or while a cluster starts."""


class ClusterError(Exception):
    """A cluster could not be made; says what is wrong and what to do about it."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  what to do: {remedy}")
