"""Settings: a frozen dataclass filled from YAML and then the command line; what is unusable is one line."""

from perception.settings.error import SettingsError
from perception.settings.files import config_files, shipped_config
from perception.settings.parsing import parse, usage

__all__ = ["SettingsError", "config_files", "parse", "shipped_config", "usage"]
