"""How pages are made: templates, forms, Markdown, errors in Portuguese."""
