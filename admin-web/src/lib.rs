//! The web panel of one provider.
