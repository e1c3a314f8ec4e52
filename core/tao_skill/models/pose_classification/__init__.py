"""Skeleton-action classification with ST-GCN, compatible with NVIDIA TAO's PoseClassificationNet."""
