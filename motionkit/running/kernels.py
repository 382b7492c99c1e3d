"""Kernels that run notebooks."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


class Kernel(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels are installed, reached through sockets in a folder."""

    def __init__(self, **settings: Any) -> None:
        if os.name == "posix":
            # Not TCP: no open port, no warning about it. The folder's path must be short: a socket's is limited.
            self._sockets = tempfile.TemporaryDirectory(prefix="mk-", ignore_cleanup_errors=True)
            settings |= {"transport": "ipc", "connection_file": os.path.join(self._sockets.name, "kernel.json")}
        super().__init__(**settings)

    @property
    def kernel_spec(self) -> KernelSpec:
        if self._kernel_spec is None:
            self._kernel_spec = KernelSpec(**get_kernel_dict())
        return self._kernel_spec
