"""`python -m aiplat_lab.cli`, the same as `aiplat`."""

from aiplat_lab.cli import main

raise SystemExit(main())
