"""Publish what a study leaves behind: champion, pictures, importance, descriptions and the report."""
