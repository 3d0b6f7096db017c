"""`deit-lt` with FSDP 2 on the CPU, which Accelerate leaves to GPUs: it takes a launch on CPUs for plain DDP.

All else is real: torch divides the network over gloo, and Accelerate and Trainer save, load and evaluate it so.
"""

import os
from functools import wraps

from accelerate import PartialState
from accelerate.state import AcceleratorState, DistributedType

from trainer.commands.__main__ import main

made = AcceleratorState.__init__


@wraps(made)
def divided(self, *args, fsdp_plugin=None, **kwargs):
    """As Accelerate does it for several GPUs, once the process group is there."""
    made(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" and fsdp_plugin is not None
    if asked and self.distributed_type == DistributedType.MULTI_CPU:
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin


if __name__ == "__main__":
    AcceleratorState.__init__ = divided
    main()
