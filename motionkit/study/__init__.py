"""What a paper's experiments, run again and together, say about its claims."""
