"""Settings: a frozen dataclass filled from YAML and then the command line; what is unusable is one line."""

from perception.cli_config.command_line import help_topic, log_level
from perception.cli_config.error import SettingsError
from perception.cli_config.files import config_files, named_settings, shipped_config
from perception.cli_config.parsing import from_values, parse, usage

__all__ = [
    "SettingsError",
    "config_files",
    "from_values",
    "help_topic",
    "log_level",
    "named_settings",
    "parse",
    "shipped_config",
    "usage",
]
