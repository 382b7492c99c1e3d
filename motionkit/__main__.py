"""``python -m motionkit``, and so ``torchrun ... -m motionkit``."""

from motionkit.cli import main

if __name__ == "__main__":
    main()
