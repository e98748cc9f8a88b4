"""Makes training batches from records: order, loading, ground truth."""
