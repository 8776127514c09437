"""The local gateway: one process per `AIPLAT_HOME` that every call goes through."""
