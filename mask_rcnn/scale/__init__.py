"""Detection in more images than one process can handle: Parquet files, Ray Data and Ray Serve."""
