"""The API and the speed layer: ingest, profiles and decisions over Redis."""
