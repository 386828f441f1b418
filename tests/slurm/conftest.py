"""What all tests of a real SLURM cluster share."""

import pytest

from tests.slurm.cluster import skip_without_cluster


@pytest.fixture(scope="session", autouse=True)
def needs_cluster() -> None:
    """Skips where no SLURM answers."""
    skip_without_cluster()
