"""Ray on this machine, for tests whose subject runs in Ray tasks."""

import pytest


@pytest.fixture(scope="module")  # a Ray that stays would be taken for theirs by tests of other folders
def local_ray():
    import ray

    ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
