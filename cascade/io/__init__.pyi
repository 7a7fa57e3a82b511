from cascade.io import local as local
from cascade.io import s3 as s3
from cascade.io import stdin as stdin
from cascade.io import stdout as stdout

__all__ = ["local", "s3", "stdin", "stdout"]
