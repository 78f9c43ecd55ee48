"""What it costs: ``python -m benchmarks`` prints speed and memory beside those of peers, with ratios and goals.

Nothing here asserts a time; ``tests/test_benchmarks.py`` runs everything at a tiny size, so that it keeps working.
"""
