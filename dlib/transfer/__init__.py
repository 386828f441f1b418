"""A model or a whole run, taken to another place: export and import. No torch."""
