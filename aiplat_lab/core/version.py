"""The version of the package, in one place and without a look into installed metadata."""

VERSION = "0.1.0"
