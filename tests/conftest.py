"""The fixtures that prodkit gives to everybody, for our own tests."""

import sys

# Where prodkit is installed, its entry point has loaded the plugin already; a second registration would be
# refused.
pytest_plugins = [] if "prodkit.testing.plugin" in sys.modules else ["prodkit.testing.plugin"]
