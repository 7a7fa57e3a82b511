"""Tasks that the package itself puts into graphs."""
