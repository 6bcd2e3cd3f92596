"""This package writes a pipeline's first YAML for a stranger's data: profile (what is there), guess, write."""
