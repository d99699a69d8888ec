"""The command line: words in, results on standard output, an exit code out."""
