"""This process and the operating system: signals, standard streams, open files, threads, CPUs, control groups."""
