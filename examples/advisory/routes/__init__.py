"""One file a subject. Handlers read the request, ask the services, and choose a page."""
