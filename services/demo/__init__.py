"""The main job on one machine, from empty folders to a class added by clicks."""
