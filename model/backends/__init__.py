"""Ways to compute the folded network: one list (registry), and what each of them consists of."""
