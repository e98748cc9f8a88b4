"""Where one process is outgrown: detections of many images in Parquet files, on Ray Data and on Ray Serve."""
