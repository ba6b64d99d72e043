//! Summaries by mail, from a durable outbox.
