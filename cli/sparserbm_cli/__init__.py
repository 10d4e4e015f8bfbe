"""The command line of sparserbm: it turns words into calls of the library, and nothing else."""
