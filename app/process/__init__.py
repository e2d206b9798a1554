"""What the system does to this process and allows it: signals, standard streams, open files, control groups."""
