"""No test may reach the network; one thread computes, since models are so small that two only wait for each other."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
