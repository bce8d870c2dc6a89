"""The console: screens over the same API and definitions that everybody else uses."""
