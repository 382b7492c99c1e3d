"""motionkit: human-motion research, papers behind one thin PyTorch library."""

__version__ = "0.1.0"
