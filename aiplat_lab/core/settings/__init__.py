"""The settings: `aiplat.toml`, the environment, and the files of one `AIPLAT_HOME`.

Each setting is declared once, as a field with its default and its meaning; the documentation is generated from there. An unknown
key is refused with the nearest known name. Only `_place.py` reads the environment.
"""

from aiplat_lab.core.settings._all import SETTINGS_FILE, Settings
from aiplat_lab.core.settings._parts import (
    CacheSettings,
    GatewaySettings,
    PriceSettings,
    ReplaySettings,
    ReportSettings,
    RetentionSettings,
    TelemetrySettings,
)
from aiplat_lab.core.settings._place import (
    Environment,
    Home,
    data_folder,
    dotenv,
    enter,
    environment,
    forget_in_keyring,
    given,
    keep_in_keyring,
    open_key_files,
    present,
    secret,
    shipped,
)
from aiplat_lab.core.settings._providers import (
    BUILT_IN_MODELS,
    BUILT_IN_PROVIDERS,
    DeploymentSettings,
    ModelSettings,
    ProviderSettings,
    RuleSettings,
)
from aiplat_lab.core.settings._read import parse
from aiplat_lab.core.settings._rules import (
    BUDGET_SCOPES,
    LIMIT_SCOPES,
    BudgetSettings,
    LimitSettings,
    ProjectSettings,
    RedactionSettings,
    ResidencySettings,
    TeamSettings,
)
from aiplat_lab.core.settings._vault import Secret, Vault

__all__ = [
    "BUDGET_SCOPES",
    "BUILT_IN_MODELS",
    "BUILT_IN_PROVIDERS",
    "LIMIT_SCOPES",
    "SETTINGS_FILE",
    "BudgetSettings",
    "CacheSettings",
    "DeploymentSettings",
    "Environment",
    "GatewaySettings",
    "Home",
    "LimitSettings",
    "ModelSettings",
    "PriceSettings",
    "ProjectSettings",
    "ProviderSettings",
    "RedactionSettings",
    "ReplaySettings",
    "ReportSettings",
    "ResidencySettings",
    "RetentionSettings",
    "RuleSettings",
    "Secret",
    "Settings",
    "TeamSettings",
    "TelemetrySettings",
    "Vault",
    "data_folder",
    "dotenv",
    "enter",
    "environment",
    "forget_in_keyring",
    "given",
    "keep_in_keyring",
    "open_key_files",
    "parse",
    "present",
    "secret",
    "shipped",
]
