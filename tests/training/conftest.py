"""Before anything loads torch: this process and those it starts compute alike."""

import os

# One thread each: sums are added up in the same order everywhere, and two cores are not fought over.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing is asked of a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
