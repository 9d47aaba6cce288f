"""Settings of every test: offline, and as many threads as the machine's other work leaves."""

from __future__ import annotations

import os

# Set before anything imports huggingface_hub or an OpenMP library, which read them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
