"""What is claimed anywhere in the docs, as commands: ``python -m benchmarks.NAME``."""

import slipcast  # noqa: F401  # before torch, as every command of slipcast is
