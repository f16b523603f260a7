"""From the command line to a checked configuration, without importing torch."""

from zoo.config.checking import checked, checked_words, going_on, resumed, settings, worker_run
from zoo.config.completion import complete
from zoo.config.grid import check_sweep
from zoo.config.help import composed, help_text
from zoo.config.hints import explain
from zoo.config.options import GROUPS, OVERLAYS, RULES, add_found_options
from zoo.config.words import check_words, typed

__all__ = [
    "GROUPS",
    "OVERLAYS",
    "RULES",
    "add_found_options",
    "check_sweep",
    "check_words",
    "checked",
    "checked_words",
    "complete",
    "composed",
    "explain",
    "going_on",
    "help_text",
    "resumed",
    "settings",
    "typed",
    "worker_run",
]
