"""Registers the second model in every process whose PYTHONPATH has this folder."""

import line

from tao_skill import models

models.MODELS = {**models.MODELS, line.LineModel.name: line.LineModel()}
