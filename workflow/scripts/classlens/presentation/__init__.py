"""Measures of several models beside each other, and HTML templates, shared by figures, tables and pages."""
