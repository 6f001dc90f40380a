"""The lists of a project's pages: what they can be sorted and filtered by, pages of them, CSV, and what is done to several rows."""
