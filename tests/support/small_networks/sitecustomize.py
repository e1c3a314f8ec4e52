"""Makes the networks small in every process whose PYTHONPATH has this folder."""

import small_networks

from tao_skill.models.pose_classification.network.registry import NETWORKS

NETWORKS.update(small_networks.small(NETWORKS))
