"""Faults on purpose against a real service: see __main__."""
