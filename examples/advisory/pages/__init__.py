"""Pages: templates, forms, Markdown, errors in Portuguese."""
