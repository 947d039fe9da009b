"""This Linux host: control groups, instances, privileges. Used by keeper, supervisor, doctor and bench."""
