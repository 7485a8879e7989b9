"""Stands for `model_service`: the services of `mms.model_service` by the name that archives of older tools use."""
