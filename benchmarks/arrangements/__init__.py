"""Tickets trained in every arrangement there is, for benchmarks/tickets_throughput.py."""
