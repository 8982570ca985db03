"""Made by docs/tools/sv2_codecs.py from protocol/v2/layouts.py: change that, then run the tool."""
