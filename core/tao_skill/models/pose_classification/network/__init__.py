"""ST-GCN, ST-GCN++ and their graphs."""
