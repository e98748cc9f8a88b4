"""One writer for each format of exported models."""
