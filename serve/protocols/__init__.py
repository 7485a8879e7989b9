"""Protobuf messages of the wire protocols, in a descriptor pool of their own.

In protobuf's default pool they would clash with `tritonclient` and with TensorFlow in the same process. The descriptor
files (`*.binpb`) are compiled from the `.proto` files beside them (`make proto`; `make check` finds stale ones).
"""
