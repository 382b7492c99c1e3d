"""The one kernel that notebooks are offered: the running interpreter, whatever kernels are registered elsewhere."""

from __future__ import annotations

from jupyter_client.kernelspec import KernelSpecManager
from traitlets import default


class OwnKernel(KernelSpecManager):
    """No folder of kernels is searched; what is left is the interpreter itself, under the usual name ``python3``."""

    @default("kernel_dirs")
    def _no_folders(self) -> list[str]:
        return []
