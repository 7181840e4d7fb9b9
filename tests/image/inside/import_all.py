"""Imports every module of both packages and opens every library of all others: none lacks what it needs."""

import ctypes
import importlib
import os
import pkgutil
import sys
from pathlib import Path

import torch

import icss_core
import services

OPENED_OTHERWISE = {
    "libcaffe2_nvrtc.so": "needs the driver of a GPU, libcuda.so.1",
    "libcufile_rdma.so.1": "needs the driver of a network adapter",
    "libgfortran.so.5": "needs libquadmath, which torch's wheel lacks; nothing links it",
    "libjemalloc.so": "can only be loaded at the start of a process",
    "nvshmem_bootstrap_mpi.so.3": "needs MPI",
    "nvshmem_bootstrap_pmix.so.3": "needs PMIx",
    "nvshmem_bootstrap_shmem.so.3": "needs OpenSHMEM",
    "nvshmem_transport_gpunetio.so.6": "needs the driver of a network adapter",
    "nvshmem_transport_ibdevx.so.6": "needs the driver of a network adapter",
    "nvshmem_transport_ibgda.so.6": "needs the driver of a network adapter",
    "nvshmem_transport_libfabric.so.6": "needs libfabric",
    "nvshmem_transport_ucx.so.6": "needs UCX",
}

site_packages = Path(torch.__file__).parent.parent
for package in (icss_core, services):
    # the product is the installed one, not a checkout that lies around
    assert Path(package.__file__).parent.parent == site_packages, package.__file__
names = [
    module.name
    for package in (icss_core, services)
    for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
    if not module.name.endswith("__main__")
]
for name in names:
    importlib.import_module(name)
assert not torch.cuda.is_available()

libraries = sorted({*site_packages.rglob("*.so"), *site_packages.rglob("*.so.*")})
wrong = []
for library in libraries:
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        if library.name not in OPENED_OTHERWISE:
            wrong.append(f"{library.relative_to(site_packages)}: {error}")
assert not wrong, "\n".join(wrong)
sys.stdout.write(f"{len(names)} modules, {len(libraries)} libraries\n")
sys.stdout.flush()
# many of them were never meant to be opened in one process, and some do not end well together
os._exit(0)
