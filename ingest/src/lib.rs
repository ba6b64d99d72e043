//! TCP servers that turn pushed documents into stored readings.
