"""Buckets, gs:// and s3://, by fsspec: what talks to them."""
