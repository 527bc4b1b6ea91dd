"""Triaxis: how far are the attention logits of a RoPE language model a sum of "where" and "what"?

The library: pure functions on arrays and tables. It knows no Snakemake; the scripts beside it do.
"""
