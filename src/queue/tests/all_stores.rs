//! All stores do the same.
