"""One algorithm per file; each changes weights, biases or the float graph, none knows how files are written."""
