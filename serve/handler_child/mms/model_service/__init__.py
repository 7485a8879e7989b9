"""Stands for `mms.model_service`: the base classes of services written for MMS 0.4."""
