"""Latency beside other runtimes; see README.md."""
