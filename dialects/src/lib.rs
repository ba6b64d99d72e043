//! Framing and decoding of gateway XML: bytes to documents to readings.
