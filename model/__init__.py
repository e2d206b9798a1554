"""LapSRN: the network, its training and evaluation, and the runtime that serves it."""
