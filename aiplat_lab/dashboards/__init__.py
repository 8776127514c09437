"""The dashboards: Panel applications in their own process, reading named views through the client.

`python -m aiplat_lab.dashboards serve` serves them, alone on the loopback or behind Jupyter's proxy.
"""
