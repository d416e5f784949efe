"""Deployment of the reference app: image, compose files, health check, backups, Dokploy."""
