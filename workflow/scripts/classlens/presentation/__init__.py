"""What figures, tables and pages share: measures of several models beside each other, and HTML templates."""
