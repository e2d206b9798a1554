"""Settings of every test of the network: one thread, so that tests neither wait for each other nor for training."""

import torch

torch.set_num_threads(1)
