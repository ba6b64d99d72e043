//! Figures, completeness and charts: what panel and mails both say.
