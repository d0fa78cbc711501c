//! Nothing: cargo takes no package without a target.
