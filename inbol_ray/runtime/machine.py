"""How much of this machine a Ray started here takes, where the configuration leaves that open.

The numbers of the machine are those of the container where there is one: what Ray itself reads when it starts a node.
"""

from dataclasses import dataclass

LEAST_CPUS = 6
"""Two training workers or engines, Ray Data's tasks beside them and the renderers: what the demo needs on two cores."""
CPUS_PER_GPU = 2
"""The process that computes on the GPU, and the one that renders or reads for it."""
SPARE_CPUS = 2
"""Reading and judging tasks beside GPU processes."""
OBJECT_STORE_SHARE = 0.3
"""Of the memory; Ray's own share."""
SHARED_MEMORY_SHARE = 0.95
"""Of /dev/shm, where the object store lives; outside it every block would go through the disk."""
LEAST_OBJECT_STORE_BYTES = 400_000_000
"""Enough for the demo. In a container with a smaller /dev/shm (Docker's default has 64 MB) Ray puts it on the disk."""


@dataclass(frozen=True)
class Machine:
    """What a machine has; `shared_memory_bytes` is what is free of /dev/shm."""

    cores: int
    memory_bytes: int
    shared_memory_bytes: int
    num_gpus: int


def logical_cpus(machine: Machine) -> int:
    """Logical CPUs of a Ray on `machine`: its cores, but never fewer than the processes that it is made to hold.

    These take turns on the cores where there are fewer: a process that waits for its GPU, a file or another worker
    needs none.
    """
    return max(machine.cores, LEAST_CPUS, CPUS_PER_GPU * machine.num_gpus + SPARE_CPUS)


def object_store_bytes(machine: Machine) -> int:
    """Object store of a Ray on `machine`, in bytes; memory is taken as blocks come, not beforehand."""
    share = min(OBJECT_STORE_SHARE * machine.memory_bytes, SHARED_MEMORY_SHARE * machine.shared_memory_bytes)
    return max(LEAST_OBJECT_STORE_BYTES, int(share))


def this_machine() -> Machine:
    """What Ray finds here: cores and memory within the container's limits, GPUs of this process. Needs no torch."""
    # Private names, but the very numbers of which a node of `ray start` is made; Ray is pinned, and a test compares.
    from ray._common.utils import get_system_memory
    from ray._private.accelerators import get_accelerator_manager_for_resource
    from ray._private.utils import get_num_cpus, get_shared_memory_bytes

    gpus = get_accelerator_manager_for_resource("GPU")
    visible = gpus.get_current_process_visible_accelerator_ids()
    present = gpus.get_current_node_num_accelerators()
    return Machine(
        cores=int(get_num_cpus(override_docker_cpu_warning=True)),
        memory_bytes=get_system_memory(),
        shared_memory_bytes=get_shared_memory_bytes(),
        num_gpus=present if visible is None else min(present, len(visible)),
    )
